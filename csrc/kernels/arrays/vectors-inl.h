// Contiguous elements as vectors, the remainder of a row included. No element beyond the n of a
// call is read or written; prefetches may be.
//
// Several vectors at a time, U of them, are what overlaps the chains of dependent operations of
// their exponentials.

// Prefetches n vectors from any address.
template <int n, class T>
void prefetch(const T* p) {
    constexpr int line = 64 / sizeof(T);
    for (int i = 0; i < n * Lanes<T>::width; i += line) VBFAST_PREFETCH(p + i);
}

// Calls f(Count<n>, x, y, i) for n vectors of a row from element i: n is U as long as there are
// that many, then one. The remainder is filled up with `fill`.
template <int inputs, int U, class T, class F>
void for_each_group(const T* x, const T* y, std::int64_t n, const T* fill, F f) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const auto load = [&](auto count, std::int64_t i) {
        V a[count.value], b[count.value];
        for (int u = 0; u < count.value; ++u) {
            a[u] = V::load(x + i + u * W);
            b[u] = inputs > 1 ? V::load(y + i + u * W) : V::zero();
        }
        f(count, a, b, i);
    };
    std::int64_t i = 0;
    for (; i + U * W <= n; i += U * W) load(Count<U>(), i);
    for (; i + W <= n; i += W) load(Count<1>(), i);
    if (i == n) return;
    T last[2][W];
    for (int j = 0; j < W; ++j) {
        last[0][j] = i + j < n ? x[i + j] : fill[0];
        last[1][j] = inputs > 1 && i + j < n ? y[i + j] : fill[1];
    }
    const V a = V::load(last[0]), b = V::load(last[1]);
    f(Count<1>(), &a, &b, i);
}

// Calls f(i, count) for whole vectors, whose count is known when it is compiled, and for the
// remainder.
template <class T, class F>
void for_each_vector_of(std::int64_t n, F f) {
    constexpr int W = Lanes<T>::width;
    std::int64_t i = 0;
    for (; i + W <= n; i += W) f(i, Count<W>());
    if (i < n) f(i, n - i);
}

// Loads `count` elements, and zeros for the other lanes.
template <class T>
Lanes<T> load_first(const T* p, std::int64_t count) {
    if (count >= Lanes<T>::width) return Lanes<T>::load(p);
    T each[Lanes<T>::width] = {};
    for (std::int64_t j = 0; j < count; ++j) each[j] = p[j];
    return Lanes<T>::load(each);
}

template <class T>
Lanes<T> load_first(const T* p, Count<Lanes<T>::width>) {
    return Lanes<T>::load(p);
}

// Stores the first `count` lanes.
template <class T>
void store_first(Lanes<T> a, T* out, std::int64_t count) {
    if (count >= Lanes<T>::width) {
        a.store(out);
        return;
    }
    T each[Lanes<T>::width];
    a.store(each);
    for (std::int64_t j = 0; j < count; ++j) out[j] = each[j];
}
