// Where the rows of a kernel lie: shared by the kernels and by the code that launches them.
#pragma once

/// Row r belongs to token r / perToken; among the token's rows, to a group of perGroup. Distances are counted in numbers.
struct Rows {
  long long token, group, head;
  int perToken, perGroup;
};
