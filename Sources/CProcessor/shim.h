// Which x86-64 level this processor *and* its operating system offer: 1, 3 or 4; 0 elsewhere.
//
// Levels as in the x86-64 psABI supplement, section 3.1.1 (micro-architecture levels). A level counts only when
// XCR0 says that the kernel saves the registers: ymm for level 3, zmm and the mask registers for level 4.
#ifndef LONGHAUL_PROCESSOR_H
#define LONGHAUL_PROCESSOR_H

#if defined(__x86_64__)
#include <cpuid.h>

static inline int longhaul_x86_level(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 1;
    const unsigned leaf1 =
        bit_SSE3 | bit_SSSE3 | bit_CMPXCHG16B | bit_SSE41 | bit_SSE42 | bit_POPCNT |
        bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C | bit_MOVBE;
    if ((c & leaf1) != leaf1) return 1;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x6) != 0x6) return 1;
    unsigned e7b;
    if (!__get_cpuid_count(7, 0, &a, &e7b, &c, &d)) return 1;
    const unsigned leaf7 = bit_AVX2 | bit_BMI | bit_BMI2;
    if ((e7b & leaf7) != leaf7) return 1;
    if (!__get_cpuid(0x80000001, &a, &b, &c, &d) || !(c & bit_LZCNT)) return 1;
    const unsigned wide =
        bit_AVX512F | bit_AVX512BW | bit_AVX512CD | bit_AVX512DQ | bit_AVX512VL;
    if ((e7b & wide) != wide || (low & 0xE6) != 0xE6) return 3;
    return 4;
}
#else
static inline int longhaul_x86_level(void) { return 0; }
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

// Copies past the caches: for a target that is not read again soon, and larger than they are. The
// buffers do not overlap. On processors without such stores it is memcpy.
static inline void longhaul_stream_copy(void *target, const void *source, size_t count) {
#if defined(__x86_64__) && defined(__SSE2__)
    typedef long long block __attribute__((vector_size(16)));
    typedef long long loose __attribute__((vector_size(16), aligned(1)));
    unsigned char *to = (unsigned char *)target;
    const unsigned char *from = (const unsigned char *)source;
    size_t head = (16 - ((uintptr_t)to & 15)) & 15;
    if (head > count) head = count;
    memcpy(to, from, head);
    to += head, from += head, count -= head;
    for (; count >= 64; to += 64, from += 64, count -= 64) {
        block a = *(const loose *)from, b = *(const loose *)(from + 16);
        block c = *(const loose *)(from + 32), d = *(const loose *)(from + 48);
        __builtin_nontemporal_store(a, (block *)to);
        __builtin_nontemporal_store(b, (block *)(to + 16));
        __builtin_nontemporal_store(c, (block *)(to + 32));
        __builtin_nontemporal_store(d, (block *)(to + 48));
    }
    memcpy(to, from, count);
    // Streamed stores are ordered with nothing; others read the target after a lock, which is no fence
    // for them.
    __asm__ volatile("sfence" ::: "memory");
#else
    memcpy(target, source, count);
#endif
}

#endif
