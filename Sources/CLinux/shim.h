#ifndef LONGHAUL_CLINUX_SHIM_H
#define LONGHAUL_CLINUX_SHIM_H

/* Linux interfaces which Swift's Glibc module leaves out. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

/* Of <sched.h>, where they stand behind _GNU_SOURCE. */
extern int unshare(int flags);
extern int setns(int descriptor, int type);
#define LONGHAUL_CLONE_NEWNET 0x40000000

/* Of <sys/mman.h> and <fcntl.h>, likewise. */
extern int memfd_create(const char *name, unsigned int flags);
#define LONGHAUL_MFD_CLOEXEC 1u
#define LONGHAUL_MFD_ALLOW_SEALING 2u
#define LONGHAUL_F_ADD_SEALS 1033
#define LONGHAUL_F_GET_SEALS 1034
/* F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_GROW: a size that nobody can change. */
#define LONGHAUL_SEAL_SIZE 7

/* ioctl is variadic and its structures are unions: one wrapper per request. All return -1 and set
   errno on failure. */

/* Every packet read or written has a struct virtio_net_hdr before it, and IPv4 TCP comes in packets of
   up to 64 KiB that name their segments' size. */
static inline int longhaul_tun_attach(int tun, const char *name) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR;
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tun, TUNSETIFF, &request) != 0) return -1;
    int bytes = 10, little = 1;
    if (ioctl(tun, TUNSETVNETHDRSZ, &bytes) != 0) return -1;
    if (ioctl(tun, TUNSETVNETLE, &little) != 0) return -1;
    return ioctl(tun, TUNSETOFFLOAD, (unsigned long)(TUN_F_CSUM | TUN_F_TSO4));
}

/* Address and mask in host order. */
static inline int longhaul_interface_address(int socket, const char *name, uint32_t address,
                                             uint32_t mask) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    struct sockaddr_in value;
    memset(&value, 0, sizeof value);
    value.sin_family = AF_INET;
    value.sin_addr.s_addr = htonl(address);
    memcpy(&request.ifr_addr, &value, sizeof value);
    if (ioctl(socket, SIOCSIFADDR, &request) != 0) return -1;
    value.sin_addr.s_addr = htonl(mask);
    memcpy(&request.ifr_netmask, &value, sizeof value);
    return ioctl(socket, SIOCSIFNETMASK, &request);
}

static inline int longhaul_interface_up(int socket, const char *name, int mtu, int queue) {
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    if (mtu > 0) {
        request.ifr_mtu = mtu;
        if (ioctl(socket, SIOCSIFMTU, &request) != 0) return -1;
    }
    if (queue > 0) {
        request.ifr_qlen = queue;
        if (ioctl(socket, SIOCSIFTXQLEN, &request) != 0) return -1;
    }
    if (ioctl(socket, SIOCGIFFLAGS, &request) != 0) return -1;
    request.ifr_flags |= IFF_UP;
    return ioctl(socket, SIOCSIFFLAGS, &request);
}

#endif
