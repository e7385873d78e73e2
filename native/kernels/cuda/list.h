// Every kernel that is made of the templates, as an expression of C++: what NVRTC is asked for, and what tests simulate.
#pragma once

#define FETTLE_OF_TYPES(X, name) X(name<float>) X(name<bf16>) X(name<f16>)
/// One number at a time, and 16 bytes at a time.
#define FETTLE_OF_PACKS(X, name) X(name<float, 1>) X(name<float, 4>) X(name<bf16, 1>) X(name<bf16, 8>) X(name<f16, 1>) X(name<f16, 8>)

#define FETTLE_NORM(X) FETTLE_OF_PACKS(X, normForward) FETTLE_OF_PACKS(X, normBackward) FETTLE_OF_TYPES(X, normWeights)
#define FETTLE_ROTARY(X) FETTLE_OF_TYPES(X, rotary)
#define FETTLE_ACTIVATION(X) FETTLE_OF_PACKS(X, activationForward) FETTLE_OF_PACKS(X, activationBackward)
#define FETTLE_HEAD(X) FETTLE_OF_PACKS(X, headLoss)
