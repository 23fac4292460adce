#ifndef LONGHAUL_CXXHASH_SHIM_H
#define LONGHAUL_CXXHASH_SHIM_H

/* The complete XXH3_state_t, so that it can live on the stack. */
#define XXH_STATIC_LINKING_ONLY
#include <xxhash.h>
#if defined(__x86_64__)
/* The widest instruction set of this machine, found by the library; same results. */
#include <xxh_x86dispatch.h>
#endif

/* Functions, because Swift does not see the macros by which the header above takes effect. */
static inline XXH64_hash_t cxxhash_xxh3_64(const void *bytes, size_t count)
{
    return XXH3_64bits(bytes, count);
}

static inline void cxxhash_xxh3_64_update(XXH3_state_t *state, const void *bytes, size_t count)
{
    (void)XXH3_64bits_update(state, bytes, count);
}

/* XXH3-64, seed 0, of three byte ranges as if they were one. Swift cannot declare the state itself:
   it is aligned to 64 bytes. */
static inline XXH64_hash_t cxxhash_xxh3_64_of_three(
    const void *first, size_t firstCount, const void *second, size_t secondCount,
    const void *third, size_t thirdCount)
{
    XXH3_state_t state;
    (void)XXH3_64bits_reset(&state);
    (void)XXH3_64bits_update(&state, first, firstCount);
    (void)XXH3_64bits_update(&state, second, secondCount);
    (void)XXH3_64bits_update(&state, third, thirdCount);
    return XXH3_64bits_digest(&state);
}

#endif
