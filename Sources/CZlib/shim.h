#ifndef LONGHAUL_CZLIB_SHIM_H
#define LONGHAUL_CZLIB_SHIM_H

#include <zlib.h>

#endif
