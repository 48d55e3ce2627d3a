/* Which kernels were compiled in, which of them this processor runs, and the door to them. */
#include "impl.h"

#ifdef HWK_X86
#include <cpuid.h>

enum { SSE41 = 1, AVX2 = 2, AVX512F = 4, SHA = 8 };

/* Has the operating system promised to save these registers? A processor may have AVX while a
 * kernel or hypervisor does not keep its state (Intel SDM vol. 1, 13.3 and 14.3). */
static int saved(uint32_t state_components)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & state_components) == state_components;
}

/* Not __builtin_cpu_supports: it has answered 0 to everything under some clang builds. */
static unsigned features(void)
{
    enum { XMM = 1u << 1, YMM = 1u << 2, ZMM = 7u << 5 };
    uint32_t a, b, c, d, b7 = 0, have = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    uint32_t c1 = c;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        b7 = b;
    if (c1 & 1u << 19)
        have |= SSE41;
    if (b7 & 1u << 29)
        have |= SHA;
    if (c1 & 1u << 27) { /* OSXSAVE: xgetbv may be executed */
        if (b7 & 1u << 5 && saved(XMM | YMM))
            have |= AVX2;
        if (b7 & 1u << 16 && saved(XMM | YMM | ZMM))
            have |= AVX512F;
    }
    return have;
}
#endif

#ifdef HWK_ARM64
#ifdef __APPLE__
#include <sys/sysctl.h>

enum { ASIMD = 1, SHA2 = 2 };

static unsigned features(void)
{
    int sha2 = 0;
    size_t size = sizeof sha2;
    if (sysctlbyname("hw.optional.arm.FEAT_SHA256", &sha2, &size, NULL, 0) != 0)
        return ASIMD;
    return sha2 ? ASIMD | SHA2 : ASIMD;
}
#else
#include <sys/auxv.h>

enum { ASIMD = HWCAP_ASIMD, SHA2 = HWCAP_SHA2 };

static unsigned features(void) { return (unsigned)getauxval(AT_HWCAP); }
#endif
#endif

#define SUPPORTED(need) ((features() & (need)) == (need))

const hwk_kernel *hwk_kernels(uint32_t *count)
{
    static hwk_kernel table[] = {
        {"portable", 1, 1, hwk_scan_portable},
#ifdef HWK_X86
        {"sse41", 4, 0, hwk_scan_sse41},
        {"avx2", 8, 0, hwk_scan_avx2},
        {"avx512", 16, 0, hwk_scan_avx512},
        {"shani", 2, 0, hwk_scan_shani},
#endif
#ifdef HWK_ARM64
        {"neon", 4, 0, hwk_scan_neon},
        {"armv8-sha2", 4, 0, hwk_scan_armv8_sha2},
#endif
    };
    /* Written anew at every call with the same values, so that a race changes nothing. */
#ifdef HWK_X86
    table[1].supported = SUPPORTED(SSE41);
    table[2].supported = SUPPORTED(AVX2);
    table[3].supported = SUPPORTED(AVX512F);
    table[4].supported = SUPPORTED(SHA | SSE41);
#endif
#ifdef HWK_ARM64
    table[1].supported = SUPPORTED(ASIMD);
    table[2].supported = SUPPORTED(ASIMD | SHA2);
#endif
    *count = sizeof table / sizeof *table;
    return table;
}

int64_t hwk_scan(const hwk_kernel *kernel, const uint8_t header[80], const uint8_t target[32],
                 uint64_t first, uint64_t count, uint32_t *hits, uint32_t capacity,
                 uint32_t *found)
{
    const uint64_t nonces = (uint64_t)1 << 32;
    *found = 0;
    if (!kernel->supported)
        return -1;
    if (first > nonces || count > nonces - first)
        return -2;
    return (int64_t)kernel->scan(header, target, first, count, hits, capacity, found);
}

void hwk_sha256(const uint8_t *message, size_t length, uint8_t digest[32])
{
    uint32_t state[8], block[16];
    uint8_t last[128] = {0};
    size_t rest = length % 64, padded = rest < 56 ? 64 : 128;
    const uint8_t *tail = message + (length - rest);
    memcpy(state, IV256, sizeof state);
    if (rest)
        memcpy(last, tail, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++)
        last[padded - 1 - (size_t)i] = (uint8_t)((uint64_t)length * 8 >> 8 * i);
    for (size_t at = 0; at < length - rest + padded; at += 64) {
        const uint8_t *p = at < length - rest ? message + at : last + (at - (length - rest));
        for (int i = 0; i < 16; i++)
            block[i] = hwk_load_be(p + 4 * i);
        hwk_compress(state, block);
    }
    for (int i = 0; i < 8; i++)
        hwk_store_be(digest + 4 * i, state[i]);
}

uint64_t hwk_multiply_chain(uint64_t steps)
{
    uint64_t product = 0x9e3779b97f4a7c15, factor = 0xbf58476d1ce4e5b9;
    for (uint64_t i = 0; i < steps; i += 8) {
#ifdef HWK_X86
        __asm__ volatile("imul %1, %0\n\timul %1, %0\n\timul %1, %0\n\timul %1, %0\n\t"
                         "imul %1, %0\n\timul %1, %0\n\timul %1, %0\n\timul %1, %0"
                         : "+r"(product)
                         : "r"(factor));
#else
        for (int j = 0; j < 8; j++)
            product *= factor;
#endif
    }
    return product;
}

uint32_t hwk_multiply_latency(void)
{
#ifdef HWK_X86
    return 3; /* 64-bit imul: Intel since Nehalem, AMD since Zen (uops.info) */
#else
    return 0;
#endif
}

const char *hwk_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
