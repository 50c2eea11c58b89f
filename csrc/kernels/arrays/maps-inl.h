// Outputs of the size of the input: from elements, their exponentials about the first parameter of
// their slice, and its other parameters.

template <class T>
struct SoftmaxMap {
    using V = Lanes<T>;
    using Sums = ExpSum<T>;
    static constexpr int inputs = 1, outputs = 1, parameters = 2;
    static void apply(V x, V y, const V* p, V* out) {
        finish(exp_or_zero<T>(x - p[0]), x, y, p, out);
    }
    static void finish(V e, V, V, const V* p, V* out) { out[0] = e * p[1]; }
    static void find_parameters(const double* state, std::int64_t plane, double, T* own) {
        softmax_parameters<T>(state, plane, own, 1);
    }
};

template <class T>
struct LogSoftmaxMap {
    using V = Lanes<T>;
    static constexpr int inputs = 1, outputs = 1, parameters = 2;
    static void apply(V x, V, const V* p, V* out) { out[0] = (x - p[0]) - p[1]; }
};

// At the posterior the bound is stationary in q, where there is a posterior: else the scale is NaN.
// A slice of scale zero is skipped, NaN included.
template <class T>
struct PosteriorGradientMap {
    using V = Lanes<T>;
    using Sums = LogitsEntropy<T>;
    static constexpr int inputs = 1, outputs = 2, parameters = 2;
    static void apply(V x, V y, const V* p, V* out) {
        finish(exp_or_zero<T>(x - p[0]), x, y, p, out);
    }
    static void finish(V e, V, V, const V* p, V* out) {
        out[0] = p[1] * V::zero();
        out[1] = V::select(equal(p[1], V::zero()), V::zero(), e * p[1]);
    }
    static void find_parameters(const double* state, std::int64_t plane, double weight, T* own) {
        posterior_gradient_parameters<T>(state, plane, weight, own, 1);
    }
};

// With d = q logits - p0, or log q of probabilities, and b = log-joint - p1: q = exp(d) p2 and
// q (b - d - p3). Skips as above. Without mass the gradient is zero, but NaN as p3 is in all of a
// slice whose bound is not finite.
template <class T, bool q_logits>
struct GradientMap {
    using V = Lanes<T>;
    using Sums = Pair<T, q_logits, true>;
    static constexpr int inputs = 2, outputs = 2, parameters = 4;
    static void apply(V x, V y, const V* p, V* out) {
        finish(q_logits ? exp_or_zero<T>(x - p[0]) : x, x, y, p, out);
    }
    static void finish(V e, V x, V y, const V* p, V* out) {
        const auto skipped = equal(p[2], V::zero());
        const V d = q_logits ? x - p[0] : log_probability<T>(x);
        const V q = V::select(skipped, V::zero(), e * p[2]);
        const V g = q * ((y - p[1]) - d - p[3]);
        out[0] = V::select(equal(q, V::zero()), p[3] * V::zero(), g);
        out[1] = q;
    }
    static void find_parameters(const double* state, std::int64_t plane, double weight, T* own) {
        gradient_parameters<T>(state, plane, weight, own, 1);
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

// How a vector is stored.
struct Cached {
    static constexpr bool streams = false;
};
struct Streamed {
    static constexpr bool streams = true;
};

template <class Store, class T>
void put(Store, Lanes<T> a, T* out, std::int64_t count) {
    if constexpr (Store::streams)
        stream_store(out, a);
    else
        store_first(a, out, count);
}

// Calls f(i, count, store) for all elements, with stores past the caches for whole lines of `out`
// only: a line that is written both ways goes to memory several times.
template <class T, class F>
void for_each_line(const T* out, std::int64_t n, F f) {
    constexpr std::int64_t W = Lanes<T>::width, line = 64 / sizeof(T);
    const std::int64_t past =
        static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(out) / sizeof(T)) % line;
    const std::int64_t before = past ? line - past : 0, first = before < n ? before : n;
    const std::int64_t last = first + (n - first) / line * line;
    const auto rest = [&](std::int64_t i, std::int64_t end) {
        for (; i < end; i += W) f(i, end - i < W ? end - i : W, Cached());
    };
    rest(0, first);
    for (std::int64_t i = first; i < last; i += W) f(i, W, Streamed());
    rest(last, n);
}

// A single output that is to be streamed is: two would have to take turns, in which stores past the
// caches are slower than others.
template <class Map, class T, class F>
void for_each_stored(const T* out, std::int64_t n, bool stream, F f) {
    if (Map::outputs == 1 && stream)
        for_each_line(out, n, f);
    else
        for_each_vector_of<T>(n,
                              [&](std::int64_t i, std::int64_t count) { f(i, count, Cached()); });
}

// Maps elements that lie side by side; parameters(k, i, count) are those of elements i and after.
template <class Map, class T, class Parameters>
void map_run(const T* x, const T* y, std::int64_t n, Parameters parameters, T* out0, T* out1,
             bool stream) {
    using V = Lanes<T>;
    for_each_stored<Map>(out0, n, stream, [&](std::int64_t i, std::int64_t count, auto store) {
        V p[max_parameters], out[Map::outputs], b = V::zero();
        for (int k = 0; k < Map::parameters; ++k) p[k] = parameters(k, i, count);
        if constexpr (Map::inputs > 1) b = load_first(y + i, count);
        Map::apply(load_first(x + i, count), b, p, out);
        put(store, out[0], out0 + i, count);
        if constexpr (Map::outputs > 1) store_first(out[1], out1 + i, count);
    });
}

template <class Map, class T>
void map_row(const T* x, const T* y, std::int64_t n, const T* parameters, T* out0, T* out1,
             bool stream) {
    using V = Lanes<T>;
    V own[max_parameters];
    for (int k = 0; k < Map::parameters; ++k) own[k] = V::set(parameters[k]);
    const auto of = [&](int k, std::int64_t, std::int64_t) { return own[k]; };
    map_run<Map>(x, y, n, of, out0, out1, stream);
}

// One element of all slices after the other: what is written lies side by side, so that lines are
// written whole.
template <class Map, class T>
void map_columns(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                 const T* parameters, std::int64_t plane, T* const* out0, T* const* out1,
                 bool stream) {
    const auto of = [=](int k, std::int64_t i, std::int64_t count) {
        return load_first(parameters + k * plane + i, count);
    };
    for (std::int64_t r = 0; r < n_rows; ++r) {
        const T* b = Map::inputs > 1 ? y[r] : nullptr;
        T* second = Map::outputs > 1 ? out1[r] : nullptr;
        map_run<Map>(x[r], b, width, of, out0[r], second, stream);
    }
}

// Each row is read from a cache once the references are known, and its exponentials written, one
// row after the other. Not past the caches: with the input read in between, that is slower.
template <class T>
void keep_softmax(const T* const* x, std::int64_t n_rows, std::int64_t width, std::int64_t ahead,
                  double* state, std::int64_t plane, T* const* out, T* reference) {
    using V = Lanes<T>;
    using Op = ExpSum<T>;
    constexpr int W = V::width;
    alignas(64) T own[1][column_width], base[column_width], sum[column_width];
    raise_references<Op>(x, x, n_rows, width, state, plane, own);
    for (std::int64_t c = 0; c < width; c += W) {
        const V at = V::load(own[0] + c);
        at.store(reference + c);
        or_zero_if_infinite(at).store(base + c);
        V::zero().store(sum + c);
    }
    for (std::int64_t r = 0; r < n_rows; ++r)
        for_each_vector_of<T>(width, [&](std::int64_t c, std::int64_t count) {
            fetch_ahead<1>(x[r] + c + ahead);
            const V at = V::load(base + c), a = load_first(x[r] + c, count);
            V total = V::load(sum + c), e;
            Op::template add<1, false>(&a, nullptr, &at, &total, &e);
            total.store(sum + c);
            store_first(e, out[r] + c, count);
        });
    for (std::int64_t c = 0; c < width; c += W) V::load(sum + c).add_to(state + plane + c);
}

template <class T>
void scale_softmax(std::int64_t n_rows, std::int64_t width, const T* reference, const T* parameters,
                   std::int64_t plane, T* const* out) {
    using V = Lanes<T>;
    alignas(64) T factor[column_width];
    for (std::int64_t c = 0; c < width; c += V::width) {
        const V fall = V::load(reference + c) - V::load(parameters + c);
        (exp_or_zero<T>(fall) * V::load(parameters + plane + c)).store(factor + c);
    }
    for (std::int64_t r = 0; r < n_rows; ++r)
        for_each_vector_of<T>(width, [&](std::int64_t i, std::int64_t count) {
            store_first(load_first(out[r] + i, count) * V::load(factor + i), out[r] + i, count);
        });
}
