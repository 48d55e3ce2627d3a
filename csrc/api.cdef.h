/* The whole C surface of hwkit: C includes this file, cffi reads it. Declarations only. */

/* Looks for hits among `count` nonces from `first` on; hits go to `hits` in order, their number to
 * `found`. Returns how many nonces were answered for: all `count`, or fewer when `hits` was full,
 * and then the caller asks again from there on. Precondition: first + count <= 2^32. */
typedef uint64_t hwk_scan_fn(const uint8_t header[80], const uint8_t target[32], uint64_t first,
                             uint64_t count, uint32_t *hits, uint32_t capacity, uint32_t *found);

/* The same over 16 headers at once, which differ in their versions (bytes 0 to 3) only: block 2 and
 * its schedule are one for all of them. The header's own version is ignored; one may stand in
 * `versions` twice, and is then answered for twice. Hits are ordered by nonce, then by their place
 * in `versions`: their nonces go to `nonces`, their places to `places`. A nonce is answered for
 * with all of its 16 versions or not at all: where the lists fill up, the hits of the nonce at hand
 * are taken back. Preconditions: first + count <= 2^32, and capacity >= 16, else a nonce might
 * never be answered for. */
typedef uint64_t hwk_scan_versions_fn(const uint8_t header[80], const uint8_t target[32],
                                      const uint32_t versions[16], uint64_t first, uint64_t count,
                                      uint32_t *nonces, uint8_t *places, uint32_t capacity,
                                      uint32_t *found);

typedef struct {
    const char *name;  /* "portable"; "sse41", "avx2", "avx512", "shani", "shani-avx512"; "neon",
                        * "armv8-sha2" */
    uint32_t lanes;    /* nonces hashed in one step */
    int supported;     /* do this processor and its operating system run it? */
    hwk_scan_fn *scan;
    hwk_scan_versions_fn *scan_versions; /* NULL: hwk_scan_versions calls scan for each version */
} hwk_kernel;

/* Every kernel that was compiled in, supported or not. */
const hwk_kernel *hwk_kernels(uint32_t *count);

/* kernel->scan behind its precondition: returns -1 when the kernel is not supported here, -2 when
 * the range leaves the 32-bit nonce space, else the number of nonces answered for. */
int64_t hwk_scan(const hwk_kernel *kernel, const uint8_t header[80], const uint8_t target[32],
                 uint64_t first, uint64_t count, uint32_t *hits, uint32_t capacity,
                 uint32_t *found);

/* The same over 1 to 16 versions: by kernel->scan_versions where there are 16 and the kernel has
 * one, else by a scan for each version; the answer is the same. Returns -1 and -2 as hwk_scan does,
 * -3 for any other number of versions and for lists that cannot hold a hit of each. */
int64_t hwk_scan_versions(const hwk_kernel *kernel, const uint8_t header[80],
                          const uint8_t target[32], const uint32_t *versions, uint32_t n_versions,
                          uint64_t first, uint64_t count, uint32_t *nonces, uint8_t *places,
                          uint32_t capacity, uint32_t *found);

/* SHA-256 (FIPS 180-4) of any message, by the compression function that scans check hits with. */
void hwk_sha256(const uint8_t *message, size_t length, uint8_t digest[32]);

/* Runs `steps` multiplications each of which waits for the one before, and returns the CPU time that
 * they took this thread, in ns; 0 where there is no such clock. With the latency known, that tells
 * the core's clock. Timed here: a caller may have to wait for a lock before it can look. */
uint64_t hwk_multiply_chain_ns(uint64_t steps);

/* Cycles from one of those multiplications to the next; 0 where it is not known. */
uint32_t hwk_multiply_latency(void);

/* The compiler that built this. */
const char *hwk_compiler(void);
