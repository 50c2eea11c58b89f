// The maps: outputs of the size of the input, from elements, their exponentials about the first
// parameter of their slice, and its other parameters (parameters-inl.h). See Mapper::row and
// Mapper::columns in table.h.
//
// Error: an exponential is good to 1.5 ulp of its argument's rounded difference, and each product
// rounds once more.
//
// Blocking: one vector at a time. A map costs an exponential or nothing, and waits for memory.

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

// At the posterior the bound is stationary in q. Where there is no posterior, the scale is NaN. A
// slice of scale zero is skipped, NaN included.
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

// With d = q logits - p0, or log q of probabilities, and b = log-joint - p1: the gradients are
// q (b - d - p3) and q = exp(d) p2. Skips as above. An element without mass has gradient zero, but
// NaN where p3 is, as in all of a slice whose bound is not finite.
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

// Maps elements that lie side by side; parameters(k, i, count) are those of elements i and after.
template <class Map, class T, class Parameters>
void map_run(const T* x, const T* y, std::int64_t n, Parameters parameters, T* out0, T* out1,
             bool non_temporal) {
    using V = Lanes<T>;
    for_each_stored<Map>(out0, n, non_temporal,
                         [&](std::int64_t i, std::int64_t count, auto store) {
                             V p[max_parameters], out[Map::outputs], b = V::zero();
                             for (int k = 0; k < Map::parameters; ++k)
                                 p[k] = parameters(k, i, count);
                             if constexpr (Map::inputs > 1) b = load_first(y + i, count);
                             Map::apply(load_first(x + i, count), b, p, out);
                             put(store, out[0], out0 + i, count);
                             if constexpr (Map::outputs > 1) store_first(out[1], out1 + i, count);
                         });
}

template <class Map, class T>
void map_row(const T* x, const T* y, std::int64_t n, const T* parameters, T* out0, T* out1,
             bool non_temporal) {
    using V = Lanes<T>;
    V own[max_parameters];
    for (int k = 0; k < Map::parameters; ++k) own[k] = V::set(parameters[k]);
    const auto of = [&](int k, std::int64_t, std::int64_t) { return own[k]; };
    map_run<Map>(x, y, n, of, out0, out1, non_temporal);
}

// Row after row, an element of all slices each: what is written lies side by side, so that lines
// are written whole.
template <class Map, class T>
void map_columns(const T* const* x, const T* const* y, std::int64_t n_rows, std::int64_t width,
                 const T* parameters, std::int64_t plane, T* const* out0, T* const* out1,
                 bool non_temporal) {
    const auto of = [=](int k, std::int64_t i, std::int64_t count) {
        return load_first(parameters + k * plane + i, count);
    };
    for (std::int64_t r = 0; r < n_rows; ++r) {
        const T* b = Map::inputs > 1 ? y[r] : nullptr;
        T* second = Map::outputs > 1 ? out1[r] : nullptr;
        map_run<Map>(x[r], b, width, of, out0[r], second, non_temporal);
    }
}
