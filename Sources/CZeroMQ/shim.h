#ifndef LONGHAUL_CZEROMQ_SHIM_H
#define LONGHAUL_CZEROMQ_SHIM_H

#include <zmq.h>

#endif
