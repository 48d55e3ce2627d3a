/* Answers a prover's questions to the kernels, so that it need not run where they do. First a line
 * for each kernel: name, lanes, capacity, supported; and an empty one. Then, for each question
 *   kernel header target first count       (the kernel by its place, bytes in hex)
 * a line with what hwk_scan returned and the hits. Linked with --wrap=getauxval; HWCAP in the
 * environment then names the features of a processor that no emulator is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "hwkit.h"

enum { CAPACITY = 100 }; /* short, so that most lists of hits have a seam; of no step's width */

unsigned long __real_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type);

unsigned long __wrap_getauxval(unsigned long type)
{
    const char *features = getenv("HWCAP");
    return features ? strtoul(features, NULL, 0) : __real_getauxval(type);
}

static int from_hex(const char *text, uint8_t *bytes, int length)
{
    for (int i = 0; i < length; i++)
        if (sscanf(text + 2 * i, "%2" SCNx8, bytes + i) != 1)
            return 0;
    return 1;
}

int main(void)
{
    uint32_t kernels, hits[CAPACITY], found;
    const hwk_kernel *table = hwk_kernels(&kernels);
    for (uint32_t k = 0; k < kernels; k++)
        printf("%s %" PRIu32 " %d %d\n", table[k].name, table[k].lanes, CAPACITY,
               table[k].supported);
    puts("");
    fflush(stdout);

    uint32_t kernel;
    uint8_t header[80], target[32];
    char header_hex[161], target_hex[65];
    uint64_t first, count;
    while (scanf("%" SCNu32 " %160s %64s %" SCNu64 " %" SCNu64, &kernel, header_hex, target_hex,
                 &first, &count) == 5) {
        if (kernel >= kernels || !from_hex(header_hex, header, 80)
            || !from_hex(target_hex, target, 32))
            return 2;
        printf("%" PRId64,
               hwk_scan(table + kernel, header, target, first, count, hits, CAPACITY, &found));
        for (uint32_t i = 0; i < found; i++)
            printf(" %" PRIu32, hits[i]);
        puts("");
        fflush(stdout);
    }
    return !feof(stdin);
}
