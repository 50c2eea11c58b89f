// From log-joint to responsibilities: softmax over the components of each row, the terms of the
// lower bound, and the per-row outputs.
//
// tile.joint is overwritten by exp(l_nk - max_k l_nk); what is missing to a weighted
// responsibility, w_n / sum_k, stays in row_scale: the summary step multiplies rows by it once, not
// N K times.
//
// A group is left with its sums alone once its components are through. What is made of those, by
// division and logarithm, is made for all rows of the tile in one loop afterwards, where one
// vector's chain of dependent operations hides behind the next one's.

// First component of largest log-joint, for the rows of a group.
template <class T>
void find_labels(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const T* joint = tile.joint + g * model.joint_stride;
    const V lowest = V::set(-static_cast<T>(__builtin_inf()));
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        const V row_max = V::load(tile.row_max + g * G + v * W);
        // The largest that settle_overflowed leaves where it leaves any.
        const V largest = V::select(equal(row_max, lowest), V::zero(), row_max);
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

// exp(l - m) of C components for R vectors of rows in place, added to s, and times l - m to u.
template <class T, bool entropy, int R, int C>
inline void softmax_block(T* joint, const Lanes<T>* m, Lanes<T>* s, Lanes<T>* u) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    V d[R * C], e[R * C];
    for (int c = 0; c < C; ++c)
        for (int v = 0; v < R; ++v) d[v * C + c] = V::load(joint + c * G + v * W) - m[v];
    exp_nonpositive<T, true, R * C>(d, e);
    for (int c = 0; c < C; ++c)
        for (int v = 0; v < R; ++v) e[v * C + c].store(joint + c * G + v * W);
    for (int v = 0; v < R; ++v) {
        s[v] = s[v] + sum_of<C>(e + v * C);
        if constexpr (entropy) {
            for (int c = 0; c < C; ++c)
                d[v * C + c] = max(V::set(ExpConstants<T>::zero_at), d[v * C + c]);
            u[v] = u[v] + sum_of_products<C>(e + v * C, d + v * C);
        }
    }
}

// One group: sum_k exp(l - m) in inverse_sum, and with entropy sum_k exp(l - m) (l - m) in
// row_scale, until finish_posterior.
template <class T, bool entropy>
void softmax_group(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, R = Blocking::softmax_rows;
    for (int first = 0; first < G; first += R * W) {
        T* joint = tile.joint + g * model.joint_stride + first;
        const T* row_max = tile.row_max + g * G + first;
        V m[R], s[R], u[R];
        for (int v = 0; v < R; ++v) {
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
        constexpr int C = Blocking::exponentials / R;
        std::int64_t k = 0;
        for (; k + C <= model.n_components; k += C)
            softmax_block<T, entropy, R, C>(joint + k * G, m, s, u);
        for (; k < model.n_components; ++k) softmax_block<T, entropy, R, 1>(joint + k * G, m, s, u);
        for (int v = 0; v < R; ++v) {
            s[v].store(tile.inverse_sum + g * G + first + v * W);
            if constexpr (entropy) u[v].store(tile.row_scale + g * G + first + v * W);
        }
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
void write_resp(const Model<T>& model, Tile<T>& tile) {
    constexpr int G = group_rows<T>;
    const std::int64_t K = model.n_components;
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const T* joint = tile.joint + n / G * model.joint_stride + n % G;
        for (std::int64_t k = 0; k < K; ++k)
            tile.out_resp[n * K + k] = joint[k * G] * tile.inverse_sum[n];
    }
}

// Writes a vector of rows from row n on, as far as the tile has them.
template <class T>
void write_rows(const Tile<T>& tile, Lanes<T> a, std::int64_t n, T* out) {
    constexpr int W = Lanes<T>::width;
    if (!out) return;
    if (n + W <= tile.n_rows) {
        a.store(out + n);
        return;
    }
    T lanes[W];
    a.store(lanes);
    for (int i = 0; n + i < tile.n_rows; ++i) out[n + i] = lanes[i];
}

// Sums over rows, a lane each, in float64: with weights one row after the other, since the product
// with one may need float64.
template <class T>
struct RowSums {
    static constexpr int W = Lanes<T>::width;
    double lanes[W] = {};

    // Adds w a for the rows from n on; those beyond the last, or of zero weight, count for nothing,
    // whatever they hold.
    void add(const Tile<T>& tile, std::int64_t n, Lanes<T> a) {
        if (!tile.weights && n + W <= tile.n_rows) {
            a.add_to(lanes);
            return;
        }
        T values[W];
        a.store(values);
        for (int i = 0; i < W && n + i < tile.n_rows; ++i) {
            const double w = row_weight(tile, n + i);
            if (w != 0) lanes[i] += w * static_cast<double>(values[i]);
        }
    }
    double total() const {
        double sum = 0;
        for (const double a : lanes) sum += a;
        return sum;
    }
};

// From the sums of all rows to inverse_sum and row_scale, the per-row outputs, and the tile's sums.
template <class T, bool entropy>
void finish_posterior(Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    RowSums<T> evidence_sum, entropy_sum;
    const V infinity = V::set(static_cast<T>(__builtin_inf()));
    V lowest = infinity;
    for (std::int64_t n = 0; n < group_count(tile) * group_rows<T>; n += W) {
        const V s = V::load(tile.inverse_sum + n), weight = V::load(tile.row_weight + n);
        const auto some = less(V::zero(), s);
        const V log_sum = V::select(some, log_positive(s), V::zero());
        const V inverse = V::select(some, V::set(T(1)) / s, V::zero());
        const V evidence = V::load(tile.row_max + n) + log_sum;
        if constexpr (entropy) {
            // log S - sum e (l - m) / S; not negative, and zero where it is NaN.
            const V h = max(fnma(V::load(tile.row_scale + n), inverse, log_sum), V::zero());
            entropy_sum.add(tile, n, h);
            write_rows(tile, h, n, tile.out_entropy);
            write_rows(tile, evidence - h, n, tile.out_expected_log_joint);
        }
        inverse.store(tile.inverse_sum + n);
        (inverse * weight).store(tile.row_scale + n);
        write_rows(tile, evidence, n, tile.out_log_evidence);
        evidence_sum.add(tile, n, evidence);
        lowest = min(V::select(less(V::zero(), weight), evidence, infinity), lowest);
    }
    for (std::int64_t n = 0; n < tile.n_rows; ++n) tile.sums.weight += row_weight(tile, n);
    tile.sums.log_evidence = evidence_sum.total();
    // The sum that must hold to the last bits is evidence = expected + entropy.
    tile.sums.entropy = entropy_sum.total();
    tile.sums.expected_log_joint = tile.sums.log_evidence - tile.sums.entropy;
    T lanes[W];
    lowest.store(lanes);
    for (const T a : lanes)
        if (static_cast<double>(a) < tile.sums.lowest_log_evidence)
            tile.sums.lowest_log_evidence = static_cast<double>(a);
}

template <class T>
void posterior_step(const Model<T>& model, Tile<T>& tile) {
    const bool entropy = tile.entropy || tile.out_entropy || tile.out_expected_log_joint;
    const bool undefined = tile.squares_overflow || model.extreme;
    log_joint(model, tile, [&model, &tile, entropy, undefined](std::int64_t g) {
        if (undefined) settle_undefined(model, tile, g);
        if (tile.out_log_joint) write_log_joint_group(model, tile, g);
        if (tile.out_labels || tile.out_resp) settle_overflowed(model, tile, g);
        if (tile.out_labels) find_labels(model, tile, g);
        if (entropy)
            softmax_group<T, true>(model, tile, g);
        else
            softmax_group<T, false>(model, tile, g);
    });
    if (stops(tile)) return;
    // Rows of nothing but -inf count nowhere and have no entropy, though settle_overflowed leaves
    // them shares.
    const T inf = static_cast<T>(__builtin_inf());
    const auto set_impossible = [&tile, inf](T* values, T value) {
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            if (tile.row_max[n] == -inf) values[n] = value;
    };
    const bool settled = tile.out_labels || tile.out_resp;
    if (settled) set_impossible(tile.row_scale, inf);
    if (entropy)
        finish_posterior<T, true>(tile);
    else
        finish_posterior<T, false>(tile);
    if (settled) set_impossible(tile.row_scale, T(0));
    if (tile.out_resp) write_resp(model, tile);
    if (!tile.out_gradient) return;
    set_impossible(tile.inverse_sum, T(0));
    gradient_step(model, tile);
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
        for (std::int64_t g = 0; g < group_count(tile); ++g) {
            settle_overflowed(model, tile, g);
            find_labels(model, tile, g);
        }
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
        if (tile.out_labels) {
            settle_overflowed(model, tile, g);
            find_labels(model, tile, g);
        }
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
    if (tile.assignment == Assignment::posterior) {
        posterior_step(model, tile);
        return;
    }
    log_joint(model, tile, [&](std::int64_t g) {
        if (tile.squares_overflow || model.extreme) settle_undefined(model, tile, g);
    });
    if (stops(tile)) return;
    if (by_label(tile))
        label_step(model, tile);
    else
        given_step(model, tile);
}
