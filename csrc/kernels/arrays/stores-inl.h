// Stores of maps: through the caches, or non-temporal ones for outputs that are larger than those.
//
// A non-temporal store writes an aligned vector to memory, and the line that it writes need not be
// read first. Whole lines of the output go that way; a line that is written both ways would go to
// memory several times. Such stores are not ordered with others: arrays/run.cpp sees to that.

#if defined(__AVX512F__)
inline void store_non_temporal(double* p, Lanes<double> a) {
    _mm512_stream_pd(p, a.v);
}
inline void store_non_temporal(float* p, Lanes<float> a) {
    _mm512_stream_ps(p, a.v);
}
#elif defined(__AVX__)
inline void store_non_temporal(double* p, Lanes<double> a) {
    _mm256_stream_pd(p, a.v);
}
inline void store_non_temporal(float* p, Lanes<float> a) {
    _mm256_stream_ps(p, a.v);
}
#elif VBFAST_X86
inline void store_non_temporal(double* p, Lanes<double> a) {
    _mm_stream_pd(p, a.v);
}
inline void store_non_temporal(float* p, Lanes<float> a) {
    _mm_stream_ps(p, a.v);
}
#else
template <class T>
void store_non_temporal(T* p, Lanes<T> a) {
    a.store(p);
}
#endif

// How a vector is stored.
struct Temporal {
    static constexpr bool non_temporal = false;
};
struct NonTemporal {
    static constexpr bool non_temporal = true;
};

template <class Store, class T>
void put(Store, Lanes<T> a, T* out, std::int64_t count) {
    if constexpr (Store::non_temporal)
        store_non_temporal(out, a);
    else
        store_first(a, out, count);
}

// Calls f(i, count, store) for all elements, with non-temporal stores for whole lines of `out`.
template <class T, class F>
void for_each_line(const T* out, std::int64_t n, F f) {
    constexpr std::int64_t W = Lanes<T>::width, line = 64 / sizeof(T);
    const std::int64_t past =
        static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out) / sizeof(T)) % line;
    const std::int64_t before = past ? line - past : 0, first = before < n ? before : n;
    const std::int64_t last = first + (n - first) / line * line;
    const auto rest = [&](std::int64_t i, std::int64_t end) {
        for (; i < end; i += W) f(i, end - i < W ? end - i : W, Temporal());
    };
    rest(0, first);
    for (std::int64_t i = first; i < last; i += W) f(i, W, NonTemporal());
    rest(last, n);
}

// The same, with non-temporal stores only where the map has a single output: stores to two would
// have to take turns, in which non-temporal ones are slower than others.
template <class Map, class T, class F>
void for_each_stored(const T* out, std::int64_t n, bool non_temporal, F f) {
    if (Map::outputs == 1 && non_temporal)
        for_each_line(out, n, f);
    else
        for_each_vector_of<T>(n,
                              [&](std::int64_t i, std::int64_t count) { f(i, count, Temporal()); });
}
