// libFuzzer as a library: compiler-rt defines it, no installed header declares it.
#ifndef LONGHAUL_FUZZER_H
#define LONGHAUL_FUZZER_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerRunDriver(int *argc, char ***argv, int (*run)(const uint8_t *data, size_t size));

#endif
