// What is read soon, asked for early. Any address will do.
template <class T>
void fetch_ahead(const T* p) {
    __builtin_prefetch(p);
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
