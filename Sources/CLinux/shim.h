#ifndef LONGHAUL_CLINUX_SHIM_H
#define LONGHAUL_CLINUX_SHIM_H

/* Linux interfaces which Swift's Glibc module leaves out. */
#include <malloc.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#endif
