// Asks early for n vectors that are read soon. Any address will do.
template <int n, class T>
void fetch_ahead(const T* p) {
    constexpr int line = 64 / sizeof(T);
    for (int i = 0; i < n * Lanes<T>::width; i += line) __builtin_prefetch(p + i);
}

// Stores that go past the caches, for aligned vectors of large outputs: the line that is written
// need not be read first.

#if defined(__AVX512F__)
inline void stream_store(double* p, Lanes<double> a) {
    _mm512_stream_pd(p, a.v);
}
inline void stream_store(float* p, Lanes<float> a) {
    _mm512_stream_ps(p, a.v);
}
#elif defined(__AVX__)
inline void stream_store(double* p, Lanes<double> a) {
    _mm256_stream_pd(p, a.v);
}
inline void stream_store(float* p, Lanes<float> a) {
    _mm256_stream_ps(p, a.v);
}
#elif defined(__SSE2__)
inline void stream_store(double* p, Lanes<double> a) {
    _mm_stream_pd(p, a.v);
}
inline void stream_store(float* p, Lanes<float> a) {
    _mm_stream_ps(p, a.v);
}
#else
template <class T>
void stream_store(T* p, Lanes<T> a) {
    a.store(p);
}
#endif
