// Outputs of the size of the input: from elements and the parameters of their slice.

template <class T>
struct SoftmaxMap {
    using V = Lanes<T>;
    static constexpr int inputs = 1, outputs = 1;
    static void apply(V x, V, const V* p, V* out) { out[0] = exp_or_zero<T>(x - p[0]) * p[1]; }
};

template <class T>
struct LogSoftmaxMap {
    using V = Lanes<T>;
    static constexpr int inputs = 1, outputs = 1;
    static void apply(V x, V, const V* p, V* out) { out[0] = (x - p[0]) - p[1]; }
};

// At the posterior the bound is stationary in q. A slice of scale zero is skipped, NaN included.
template <class T>
struct PosteriorGradientMap {
    using V = Lanes<T>;
    static constexpr int inputs = 1, outputs = 2;
    static void apply(V x, V, const V* p, V* out) { finish(exp_or_zero<T>(x - p[0]), p, out); }
    static void finish(V e, const V* p, V* out) {
        out[0] = V::zero();
        out[1] = V::select(equal(p[1], V::zero()), V::zero(), e * p[1]);
    }
};

// With d = q logits - p0 and b = log-joint - p1: q = exp(d) p2 and q (b - d - p3). Skips as above.
template <class T>
struct GradientMap {
    using V = Lanes<T>;
    static constexpr int inputs = 2, outputs = 2;
    static void apply(V x, V y, const V* p, V* out) {
        finish(exp_or_zero<T>(x - p[0]), x, y, p, out);
    }
    static void finish(V e, V x, V y, const V* p, V* out) {
        const auto skipped = equal(p[2], V::zero());
        const V q = V::select(skipped, V::zero(), e * p[2]);
        const V g = q * ((y - p[1]) - (x - p[0]) - p[3]);
        out[0] = V::select(equal(q, V::zero()), V::zero(), g);
        out[1] = q;
    }
};

// Stores vectors, and the last, shorter one.
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

template <class Map, class T>
void map_row(const T* x, const T* y, std::int64_t n, const T* parameters, T* out0, T* out1) {
    using V = Lanes<T>;
    V p[max_parameters];
    for (int k = 0; k < max_parameters; ++k) p[k] = V::set(parameters[k]);
    const T fill[2] = {T(0), T(0)};
    for_each_vector<Map::inputs, 2>(x, y, n, fill, [&](V a, V b, int, std::int64_t i) {
        V out[Map::outputs];
        Map::apply(a, b, p, out);
        store_first(out[0], out0 + i, n - i);
        if constexpr (Map::outputs > 1) store_first(out[1], out1 + i, n - i);
    });
}

template <class Map, class T>
void map_columns(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                 const T* parameters, std::int64_t plane, T* const* out0, T* const* out1) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    for (std::int64_t first = 0; first < n_rows; first += column_rows) {
        const std::int64_t end = first + column_rows < n_rows ? first + column_rows : n_rows;
        for (std::int64_t c = 0; c < width; c += W) {
            V p[max_parameters];
            for (int k = 0; k < max_parameters; ++k) p[k] = V::load(parameters + k * plane + c);
            for (std::int64_t r = first; r < end; ++r) {
                V a, b = V::zero(), out[Map::outputs];
                if (c + W <= width) {
                    a = V::load(x[r] + c);
                    if constexpr (Map::inputs > 1) b = V::load(y[r] + c);
                } else {
                    T last[2][W];
                    for (int j = 0; j < W; ++j) {
                        last[0][j] = c + j < width ? x[r][c + j] : T(0);
                        last[1][j] = Map::inputs > 1 && c + j < width ? y[r][c + j] : T(0);
                    }
                    a = V::load(last[0]);
                    b = V::load(last[1]);
                }
                Map::apply(a, b, p, out);
                store_first(out[0], out0[r] + c, width - c);
                if constexpr (Map::outputs > 1) store_first(out[1], out1[r] + c, width - c);
            }
        }
    }
}

// Calls f(i, count) so that all but the first and last few elements are whole aligned vectors.
template <class T, class F>
void for_each_aligned(const T* out, std::int64_t n, F f) {
    constexpr std::int64_t W = Lanes<T>::width;
    const std::int64_t past =
        static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out) / sizeof(T)) % W;
    std::int64_t i = past ? W - past : 0;
    if (i > n) i = n;
    if (i) f(0, i);
    for (; i + W <= n; i += W) f(i, W);
    if (i < n) f(i, n - i);
}

template <bool stream, class T>
void put(Lanes<T> a, T* out, std::int64_t count) {
    if (stream && count == Lanes<T>::width)
        stream_store(out, a);
    else
        store_first(a, out, count);
}

// The kept exponentials of a row, with room for the last vector.
template <class T>
struct Kept {
    alignas(64) T e[row_chunk + Lanes<T>::width];
};

// Loads count elements, and zeros for the rest of the lanes.
template <class T>
Lanes<T> load_first(const T* p, std::int64_t count) {
    if (count >= Lanes<T>::width) return Lanes<T>::load(p);
    T each[Lanes<T>::width] = {};
    for (std::int64_t j = 0; j < count; ++j) each[j] = p[j];
    return Lanes<T>::load(each);
}

template <class T, bool stream>
void write_softmax(const T* e, T inverse, std::int64_t n, T* out) {
    const Lanes<T> scale = Lanes<T>::set(inverse);
    for_each_aligned(out, n, [&](std::int64_t i, std::int64_t count) {
        put<stream>(Lanes<T>::load(e + i) * scale, out + i, count);
    });
}

template <class T>
void fused_softmax(const T* x, const T*, std::int64_t n, double, T* out, T*, bool stream,
                   double* state, std::int64_t plane) {
    using V = Lanes<T>;
    Kept<T> kept;
    T reference;
    row_references<LogitsEntropy<T>>(x, x, n, &reference);
    V sum[4] = {V::zero(), V::zero(), V::zero(), V::zero()};
    const V base = or_zero_if_infinite(V::set(reference));
    const T fill[2] = {-infinity<T>, T(0)};
    for_each_vector<1, 4>(x, x, n, fill, [&](V a, V, int u, std::int64_t i) {
        const V e = exp_or_zero<T>(a - base);
        sum[u] = sum[u] + e;
        e.store(kept.e + i);
    });
    double each[V::width] = {}, total = 0;
    (sum[0] + sum[1] + (sum[2] + sum[3])).add_to(each);
    for (int j = 0; j < V::width; ++j) total += each[j];
    // SciPy's answer for a slice without a finite maximum is NaN.
    const T inverse = static_cast<T>(reference * T(0) == T(0) ? 1 / total : __builtin_nan(""));
    state[0] = static_cast<double>(reference);
    state[plane] = 0;
    state[2 * plane] = total;
    if (stream)
        write_softmax<T, true>(kept.e, inverse, n, out);
    else
        write_softmax<T, false>(kept.e, inverse, n, out);
}

template <class T>
void fused_posterior_gradient(const T* x, const T*, std::int64_t n, double weight, T* out0, T* out1,
                              bool stream, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    Kept<T> kept;
    T reference;
    row_references<LogitsEntropy<T>>(x, x, n, &reference);
    row_sums<LogitsEntropy<T>, true>(x, x, n, &reference, state, plane,
                                     [&](V e, std::int64_t i) { e.store(kept.e + i); });
    T parameters[max_parameters];
    posterior_gradient_parameters<T>(state, plane, weight, parameters, 1);
    V p[2] = {V::set(parameters[0]), V::set(parameters[1])};
    const auto write = [&](std::int64_t i, std::int64_t count) {
        V out[2];
        PosteriorGradientMap<T>::finish(V::load(kept.e + i), p, out);
        if (stream)
            put<true>(out[1], out1 + i, count);
        else
            put<false>(out[1], out1 + i, count);
    };
    for_each_aligned(out1, n, write);
    for_each_aligned(out0, n, [&](std::int64_t i, std::int64_t count) {
        if (stream)
            put<true>(V::zero(), out0 + i, count);
        else
            put<false>(V::zero(), out0 + i, count);
    });
}

template <class T>
void fused_gradient(const T* x, const T* y, std::int64_t n, double weight, T* out0, T* out1,
                    bool stream, double* state, std::int64_t plane) {
    using V = Lanes<T>;
    using Op = Pair<T, true, true>;
    Kept<T> kept;
    T reference[2];
    row_references<Op>(x, y, n, reference);
    row_sums<Op, true>(x, y, n, reference, state, plane,
                       [&](V e, std::int64_t i) { e.store(kept.e + i); });
    T parameters[max_parameters];
    gradient_parameters<T>(state, plane, weight, parameters, 1);
    V p[max_parameters];
    for (int k = 0; k < max_parameters; ++k) p[k] = V::set(parameters[k]);
    // Outputs that streams can reach together start at the same offset of a vector.
    const bool together = stream && (reinterpret_cast<std::uintptr_t>(out0) -
                                     reinterpret_cast<std::uintptr_t>(out1)) %
                                            (sizeof(T) * V::width) ==
                                        0;
    for_each_aligned(out0, n, [&](std::int64_t i, std::int64_t count) {
        V out[2];
        GradientMap<T>::finish(V::load(kept.e + i), load_first(x + i, count),
                               load_first(y + i, count), p, out);
        if (together) {
            put<true>(out[0], out0 + i, count);
            put<true>(out[1], out1 + i, count);
        } else {
            put<false>(out[0], out0 + i, count);
            put<false>(out[1], out1 + i, count);
        }
    });
}

template <class Map, class T>
constexpr Mapper<T> mapper(decltype(Mapper<T>::fused) fused) {
    return {Map::inputs, Map::outputs, map_row<Map, T>, map_columns<Map, T>, fused};
}
