// Debian's libopenblas-dev: the standard C interface, and OpenBLAS's own entry points, which the
// reference header (when the `cblas.h` alternative points to another library) does not declare.
#ifndef LONGHAUL_CBLAS_SHIM_H
#define LONGHAUL_CBLAS_SHIM_H

#include <cblas.h>

char *openblas_get_corename(void);
void openblas_set_num_threads(int num_threads);

#endif
