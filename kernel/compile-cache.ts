import module from 'node:module'

// Compiling the TypeScript compiler anew takes a tenth of a kernel's start; newer Nodes (22.1) can keep what they compiled.
;(module as { enableCompileCache?(): unknown }).enableCompileCache?.()
