// Returns numbers 4 block to 4 block + 3 of the generator Philox4x32-10; see
// rnnlm/functions/philox.py.
static __inline__ __device__ void philox(
    unsigned long long block, unsigned int k0, unsigned int k1, unsigned int* numbers)
{
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
    numbers[0] = c0;
    numbers[1] = c1;
    numbers[2] = c2;
    numbers[3] = c3;
}
