// From log-joint to responsibilities: softmax over the components of each row, the terms of the
// lower bound, and the per-row outputs.
//
// tile.joint is overwritten by exp(l_nk - max_k l_nk); what is missing to a weighted
// responsibility, w_n / sum_k, stays in row_scale: the summary step multiplies rows by it once, not
// N K times.

// Exponentials below exp(-69) = 1e-30 become zero unless responsibilities are an output: they
// cannot change a sum, and products of them with features would be subnormal, which is slow.
template <class T>
constexpr T negligible_log = T(-69);

constexpr TileSums no_sums{0, 0, 0, 0, 0, __builtin_inf()};

// First component of largest log-joint, for the rows of a group.
template <class T>
void find_labels(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const T* joint = tile.joint + g * model.joint_stride;
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        const V largest = V::load(tile.row_max + g * G + v * W);
        std::int32_t* label = tile.label + g * G + v * W;
        unsigned missing = W == 32 ? ~0u : (1u << W) - 1;
        for (int i = 0; i < W; ++i) label[i] = 0;  // NaN alone: no component is largest
        for (std::int64_t k = 0; k < model.n_components && missing; ++k) {
            unsigned hit = V::bits(equal(V::load(joint + k * G + v * W), largest)) & missing;
            missing &= ~hit;
            for (int i = 0; hit; ++i, hit >>= 1)
                if (hit & 1) label[i] = static_cast<std::int32_t>(k);
        }
    }
    if (tile.out_labels)
        for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
            tile.out_labels[n] = tile.label[n];
}

// Rows with a component at +inf share their mass among such components.
template <class T>
void settle_infinite_row(const Model<T>& model, T* joint) {
    constexpr int G = group_rows<T>;
    const T inf = static_cast<T>(__builtin_inf());
    for (std::int64_t k = 0; k < model.n_components; ++k)
        joint[k * G] = joint[k * G] == inf ? T(0) : -inf;
}

// exp(l - m) of n components in place, added to s, and times l - m to u.
template <class T, bool entropy, int n>
inline void softmax_block(T* joint, const Lanes<T>* m, Lanes<T> cutoff, Lanes<T>* s, Lanes<T>* u) {
    using V = Lanes<T>;
    constexpr int W = V::width, RV = Blocking::row_vectors;
    V d[n * RV], e[n * RV];
#pragma GCC unroll 8
    for (int i = 0; i < n * RV; ++i) d[i] = V::load(joint + i * W) - m[i % RV];
    exp_nonpositive<T, n * RV>(d, cutoff, e);
#pragma GCC unroll 8
    for (int i = 0; i < n * RV; ++i) {
        s[i % RV] = s[i % RV] + e[i];
        if constexpr (entropy) u[i % RV] = fma(e[i], max(cutoff, d[i]), u[i % RV]);
        e[i].store(joint + i * W);
    }
}

template <class T, bool entropy>
void softmax_group(const Model<T>& model, Tile<T>& tile, std::int64_t g, T* evidence, T* expected,
                   T* inverse_sum) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    T* joint = tile.joint + g * model.joint_stride;
    const T* row_max = tile.row_max + g * G;
    const V cutoff = V::set(tile.out_resp ? ExpConstants<T>::smallest : negligible_log<T>);
    V m[RV], s[RV], u[RV];
    for (int v = 0; v < RV; ++v) {
        const V largest = V::load(row_max + v * W);
        const auto finite = equal(largest * V::zero(), V::zero());
        m[v] = V::select(finite, largest, V::zero());
        s[v] = u[v] = V::zero();
        constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
        if (V::bits(finite) != all)
            for (int i = 0; i < W; ++i)
                if (row_max[v * W + i] > T(0) && !(V::bits(finite) >> i & 1))
                    settle_infinite_row(model, joint + v * W + i);
    }
    constexpr int C = Blocking::softmax_components;
    std::int64_t k = 0;
    for (; k + C <= model.n_components; k += C)
        softmax_block<T, entropy, C>(joint + k * G, m, cutoff, s, u);
    for (; k < model.n_components; ++k)
        softmax_block<T, entropy, 1>(joint + k * G, m, cutoff, s, u);
    for (int v = 0; v < RV; ++v) {
        const auto some = less(V::zero(), s[v]);
        const V sum = V::select(some, s[v], V::set(T(1)));
        const V log_sum = log_positive(sum);
        const V inverse = V::select(some, V::set(T(1)) / sum, V::zero());
        const V largest = V::load(row_max + v * W);
        (largest + log_sum).store(evidence + v * W);
        if constexpr (entropy) fma(u[v], inverse, largest).store(expected + v * W);
        inverse.store(inverse_sum + v * W);
        (inverse * V::load(tile.row_weight + g * G + v * W)).store(tile.row_scale + g * G + v * W);
    }
}

template <class T>
void write_log_joint_group(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    constexpr int G = group_rows<T>;
    const std::int64_t K = model.n_components;
    const T* joint = tile.joint + g * model.joint_stride;
    for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
        for (std::int64_t k = 0; k < K; ++k) tile.out_log_joint[n * K + k] = joint[k * G + n % G];
}

template <class T>
void write_resp_group(const Model<T>& model, Tile<T>& tile, std::int64_t g, const T* inverse_sum) {
    constexpr int G = group_rows<T>;
    const std::int64_t K = model.n_components;
    const T* joint = tile.joint + g * model.joint_stride;
    for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
        for (std::int64_t k = 0; k < K; ++k)
            tile.out_resp[n * K + k] = joint[k * G + n % G] * inverse_sum[n % G];
}

// Writes the terms of the rows of a group and adds them to the tile's sums.
template <class T>
void add_posterior_terms(Tile<T>& tile, std::int64_t g, bool entropy, const T* evidence,
                         const T* expected, const T* inverse_sum) {
    constexpr int G = group_rows<T>;
    const T inf = static_cast<T>(__builtin_inf());
    TileSums sums = no_sums;  // in registers: through memory each addition waits for the last
    for (int i = 0; i < G && g * G + i < tile.n_rows; ++i) {
        const std::int64_t n = g * G + i;
        const double w = row_weight(tile, n);
        if (tile.out_log_evidence) tile.out_log_evidence[n] = evidence[i];
        sums.weight += w;
        if (w != 0) {
            const double e = static_cast<double>(evidence[i]);
            sums.log_evidence += w * e;
            if (e < sums.lowest_log_evidence) sums.lowest_log_evidence = e;
        }
        if (!entropy) continue;
        const bool finite = evidence[i] > -inf && evidence[i] < inf;
        T h = finite ? evidence[i] - expected[i] : T(0);
        if (evidence[i] == inf) h = -static_cast<T>(log(static_cast<double>(inverse_sum[i])));
        if (h < T(0)) h = T(0);
        // The sum that must hold to the last bits is evidence = expected + entropy.
        const double e = finite ? static_cast<double>(evidence[i]) - static_cast<double>(h)
                                : static_cast<double>(evidence[i]);
        if (tile.out_entropy) tile.out_entropy[n] = h;
        if (tile.out_expected_log_joint) tile.out_expected_log_joint[n] = static_cast<T>(e);
        if (w == 0) continue;
        sums.entropy += w * static_cast<double>(h);
        sums.expected_log_joint += w * e;
    }
    tile.sums.weight += sums.weight;
    tile.sums.log_evidence += sums.log_evidence;
    if (sums.lowest_log_evidence < tile.sums.lowest_log_evidence)
        tile.sums.lowest_log_evidence = sums.lowest_log_evidence;
    tile.sums.entropy += sums.entropy;
    tile.sums.expected_log_joint += sums.expected_log_joint;
}

template <class T>
void posterior_group(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    constexpr int G = group_rows<T>;
    const bool entropy = tile.entropy || tile.out_entropy || tile.out_expected_log_joint;
    if (tile.out_labels) find_labels(model, tile, g);
    if (tile.out_log_joint) write_log_joint_group(model, tile, g);
    T evidence[G], expected[G];
    T* inverse_sum = tile.inverse_sum + g * G;
    if (entropy)
        softmax_group<T, true>(model, tile, g, evidence, expected, inverse_sum);
    else
        softmax_group<T, false>(model, tile, g, evidence, expected, inverse_sum);
    if (tile.out_resp) write_resp_group(model, tile, g, inverse_sum);
    add_posterior_terms(tile, g, entropy, evidence, expected, inverse_sum);
}

// A row's terms for a q that need not be the posterior, one row at a time: such passes start a fit
// or evaluate a bound once. `q(k)` is the row's responsibility.
template <class T, class Q>
void general_row(const Model<T>& model, Tile<T>& tile, std::int64_t n, Q q) {
    constexpr int G = group_rows<T>;
    const T* joint = tile.joint + n / G * model.joint_stride + n % G;
    const double largest = static_cast<double>(tile.row_max[n]);
    const double inf = __builtin_inf();
    const bool impossible = largest == -inf;
    const bool evidence_wanted = tile.entropy || tile.out_log_evidence;
    double evidence = largest;
    if (evidence_wanted && largest > -inf && largest < inf) {
        double s = 0;
        for (std::int64_t k = 0; k < model.n_components; ++k)
            s += exp(static_cast<double>(joint[k * G]) - largest);
        evidence += log(s);
    }
    double entropy = 0, expected = 0, kl = 0;
    for (std::int64_t k = 0; k < model.n_components; ++k) {
        const double p = static_cast<double>(q(k));
        if (!(p > 0)) continue;
        const double l = static_cast<double>(joint[k * G]);
        expected += p * l;
        if (!evidence_wanted && !tile.out_entropy) continue;
        const double log_p = log(p);
        entropy -= p * log_p;
        kl += p * (log_p - (l - evidence));
    }
    if (impossible) expected = -inf, entropy = kl = 0;
    if (entropy < 0) entropy = 0;
    if (kl < 0) kl = 0;
    if (tile.out_log_evidence) tile.out_log_evidence[n] = static_cast<T>(evidence);
    if (tile.out_entropy) tile.out_entropy[n] = static_cast<T>(entropy);
    if (tile.out_expected_log_joint) tile.out_expected_log_joint[n] = static_cast<T>(expected);
    if (tile.out_resp)
        for (std::int64_t k = 0; k < model.n_components; ++k)
            tile.out_resp[n * model.n_components + k] = q(k);
    const double w = row_weight(tile, n);
    tile.sums.weight += w;
    if (w == 0) return;
    tile.sums.log_evidence += w * evidence;
    tile.sums.expected_log_joint += w * expected;
    tile.sums.entropy += w * entropy;
    tile.sums.kl += w * kl;
}

// All mass on one component a row: the best one, or the given one.
template <class T>
void label_step(const Model<T>& model, Tile<T>& tile) {
    if (tile.assignment == Assignment::hard || tile.out_labels)
        for (std::int64_t g = 0; g < group_count(tile); ++g) find_labels(model, tile, g);
    if (tile.given_label)
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            tile.label[n] = static_cast<std::int32_t>(tile.given_label[n]);
    const bool evidence =
        tile.entropy || tile.out_log_evidence || tile.out_entropy || tile.out_resp;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const std::int32_t label = tile.label[n];
        tile.row_scale[n] = tile.row_weight[n];
        if (!evidence && tile.assignment == Assignment::hard) {  // k-means: nothing but distances
            const double w = row_weight(tile, n);
            if (tile.out_expected_log_joint) tile.out_expected_log_joint[n] = tile.row_max[n];
            tile.sums.weight += w;
            if (w != 0) tile.sums.expected_log_joint += w * static_cast<double>(tile.row_max[n]);
            continue;
        }
        general_row(model, tile, n, [label](std::int64_t k) { return k == label ? T(1) : T(0); });
    }
}

template <class T>
void given_step(const Model<T>& model, Tile<T>& tile) {
    constexpr int G = group_rows<T>;
    const std::int64_t K = model.n_components;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const T* q = tile.given + n * K;
        general_row(model, tile, n, [q](std::int64_t k) { return q[k]; });
    }
    for (std::int64_t g = 0; g < group_count(tile); ++g) {
        if (tile.out_labels) find_labels(model, tile, g);
        T* joint = tile.joint + g * model.joint_stride;
        for (int i = 0; i < G; ++i) {
            const std::int64_t n = g * G + i;
            tile.row_scale[n] = tile.row_weight[n];
            for (std::int64_t k = 0; k < K; ++k)
                joint[k * G + i] = n < tile.n_rows ? tile.given[n * K + k] : T(0);
        }
    }
}

template <class T>
bool by_label(const Tile<T>& tile) {
    return tile.assignment == Assignment::hard || tile.given_label != nullptr;
}

template <class T>
void local_step(const Model<T>& model, Tile<T>& tile) {
    tile.sums = no_sums;
    const bool squared_norm = model.nearest || model.moments == Moments::spherical;
    if (!load_features(tile, model.n_features, model.shift, squared_norm)) return;
    if (model.nearest) {
        nearest_step(model, tile);
        return;
    }
    const bool posterior = tile.assignment == Assignment::posterior;
    log_joint(model, tile, [&model, &tile, posterior](std::int64_t g) {
        if (posterior) posterior_group(model, tile, g);
    });
    if (posterior) {
        if (tile.out_gradient) gradient_step(model, tile);
    } else if (by_label(tile)) {
        label_step(model, tile);
    } else {
        given_step(model, tile);
    }
}
