/* Which kernels were compiled in, which of them this processor runs, and the door to them. */
#define _POSIX_C_SOURCE 199309L /* clock_gettime */
#include "impl.h"
#include <time.h>

#ifdef HWK_X86
#include <cpuid.h>

enum { SSE41 = 1, AVX2 = 2, AVX512F = 4, SHA = 8, AVX512VL = 16 };

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
            have |= AVX512F | (b7 & 1u << 31 ? AVX512VL : 0);
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
        {"portable", 1, 1, hwk_scan_portable, NULL},
#ifdef HWK_X86
        {"sse41", 4, 0, hwk_scan_sse41, NULL},
        {"avx2", 8, 0, hwk_scan_avx2, NULL},
        {"avx512", 32, 0, hwk_scan_avx512, hwk_versions_avx512},
        {"shani", 4, 0, hwk_scan_shani, NULL},
        {"shani-avx512", 16, 0, hwk_scan_shani_avx512, hwk_versions_shani_avx512},
#endif
#ifdef HWK_ARM64
        {"neon", 4, 0, hwk_scan_neon, NULL},
        {"armv8-sha2", 4, 0, hwk_scan_armv8_sha2, NULL},
#endif
    };
    /* Written anew at every call with the same values, so that a race changes nothing. */
#ifdef HWK_X86
    table[1].supported = SUPPORTED(SSE41);
    table[2].supported = SUPPORTED(AVX2);
    table[3].supported = SUPPORTED(AVX512F);
    table[4].supported = SUPPORTED(SHA | SSE41);
    table[5].supported = SUPPORTED(SHA | AVX512F | AVX512VL);
#endif
#ifdef HWK_ARM64
    table[1].supported = SUPPORTED(ASIMD);
    table[2].supported = SUPPORTED(ASIMD | SHA2);
#endif
    *count = sizeof table / sizeof *table;
    return table;
}

/* What a call must not ask: -1 not supported here, -2 past the nonce space; else 0. */
static int64_t refusal(const hwk_kernel *kernel, uint64_t first, uint64_t count)
{
    const uint64_t nonces = (uint64_t)1 << 32;
    if (!kernel->supported)
        return -1;
    return first > nonces || count > nonces - first ? -2 : 0;
}

int64_t hwk_scan(const hwk_kernel *kernel, const uint8_t header[80], const uint8_t target[32],
                 uint64_t first, uint64_t count, uint32_t *hits, uint32_t capacity,
                 uint32_t *found)
{
    const int64_t refused = refusal(kernel, first, count);
    *found = 0;
    if (refused)
        return refused;
    return (int64_t)kernel->scan(header, target, first, count, hits, capacity, found);
}

/* A scan for each version, each as far as the one before it got; then their hits up to there, in
 * order. What was found beyond is found again by the next round. */
static uint64_t scan_one_by_one(hwk_scan_fn *scan, const uint8_t header[80],
                                const uint8_t target[32], const uint32_t *versions,
                                uint32_t n_versions, uint64_t first, uint64_t count,
                                uint32_t *nonces, uint8_t *places, uint32_t capacity,
                                uint32_t *found)
{
    enum { EACH = 64 }; /* hits of a version in a round: a list of 1024, shared out */
    uint32_t hits[16][EACH], some[16], next[16];
    uint8_t rolled[80];
    memcpy(rolled, header, sizeof rolled);
    *found = 0;
    for (uint64_t done = 0; done < count;) {
        const uint64_t start = first + done;
        uint64_t reach = count - done;
        for (uint32_t v = 0; v < n_versions; v++) {
            for (int i = 0; i < 4; i++)
                rolled[i] = (uint8_t)(versions[v] >> 8 * i);
            reach = scan(rolled, target, start, reach, hits[v], EACH, &some[v]);
            next[v] = 0;
        }
        for (;;) {
            const uint32_t before = *found;
            uint64_t lowest = reach;
            for (uint32_t v = 0; v < n_versions; v++)
                if (next[v] < some[v] && hits[v][next[v]] - start < lowest)
                    lowest = hits[v][next[v]] - start;
            if (lowest == reach)
                break;
            for (uint32_t v = 0; v < n_versions; v++) {
                if (next[v] == some[v] || hits[v][next[v]] - start != lowest)
                    continue;
                if (*found == capacity) {
                    *found = before;
                    return done + lowest;
                }
                nonces[*found] = hits[v][next[v]++];
                places[(*found)++] = (uint8_t)v;
            }
        }
        done += reach;
    }
    return count;
}

int64_t hwk_scan_versions(const hwk_kernel *kernel, const uint8_t header[80],
                          const uint8_t target[32], const uint32_t *versions, uint32_t n_versions,
                          uint64_t first, uint64_t count, uint32_t *nonces, uint8_t *places,
                          uint32_t capacity, uint32_t *found)
{
    const int64_t refused = refusal(kernel, first, count);
    *found = 0;
    if (refused)
        return refused;
    if (n_versions < 1 || n_versions > 16 || capacity < n_versions)
        return -3;
    if (n_versions == 16 && kernel->scan_versions)
        return (int64_t)kernel->scan_versions(header, target, versions, first, count, nonces,
                                              places, capacity, found);
    return (int64_t)scan_one_by_one(kernel->scan, header, target, versions, n_versions, first,
                                    count, nonces, places, capacity, found);
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

static uint64_t thread_ns(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now))
        return 0;
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t hwk_multiply_chain_ns(uint64_t steps)
{
    const uint64_t began = thread_ns();
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
    __asm__ volatile("" : : "r"(product));
    return thread_ns() - began;
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
