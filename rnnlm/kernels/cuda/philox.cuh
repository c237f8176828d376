// The number of the generator Philox4x32-10 at a place; rnnlm/functions/philox.py.
static __inline__ __device__ unsigned int philox(
    unsigned long long place, unsigned int k0, unsigned int k1)
{
    const unsigned long long block = place / 4;
    unsigned int c0 = (unsigned int)block, c1 = (unsigned int)(block >> 32);
    unsigned int c2 = 0, c3 = 0;
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p = 0xD2511F53ULL * c0;
        const unsigned long long q = 0xCD9E8D57ULL * c2;
        c0 = (unsigned int)(q >> 32) ^ c1 ^ k0;
        c1 = (unsigned int)q;
        c2 = (unsigned int)(p >> 32) ^ c3 ^ k1;
        c3 = (unsigned int)p;
        k0 += 0x9E3779B9U;
        k1 += 0xBB67AE85U;
    }
    switch (place % 4) {
        case 0: return c0;
        case 1: return c1;
        case 2: return c2;
        default: return c3;
    }
}
