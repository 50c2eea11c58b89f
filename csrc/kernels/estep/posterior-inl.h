// From log-joint to responsibilities: softmax over the components of each row, the terms of the
// lower bound, and the per-row outputs.
//
// In: tile.joint with tile.row_max (log_joint-inl.h).
// Out: tile.joint holds exp(l_nk - max_k l_nk), and tile.row_scale what makes a weighted
// responsibility of it, w_n / sum_k: the summary step multiplies rows by that once, not N K times.
// tile.inverse_sum is 1 / sum_k, zero for a row that has no responsibilities.
//
// Error: exponentials and logarithms are good to 1.5 ulp, and a row's sum of K exponentials is off
// by no more than K epsilon of itself, most often far less. Entropy is not negative. The tile's
// sums over rows are float64.
//
// Blocking: softmax_rows vectors of rows by a few components at a time, `exponentials` in all,
// whose chains of dependent operations overlap. A group is left with its sums alone once its
// components are through. Division and logarithm are then done for all rows of the tile in one
// loop, where the chain of one vector hides behind that of the next.

// Rows with a component at +inf share their mass among such components.
template <class T>
void settle_infinite_row(const Model<T>& model, T* joint) {
    constexpr int G = group_rows<T>;
    const T inf = static_cast<T>(runtime::infinity);
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

// One group. Until finish_posterior, inverse_sum holds sum_k exp(l - m), and with entropy row_scale
// holds sum_k exp(l - m) (l - m).
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

// Writes the log-joint of a group, before softmax_group takes its place.
template <class T>
void write_log_joint_group(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    constexpr int G = group_rows<T>;
    const std::int64_t K = model.n_components;
    const T* joint = tile.joint + g * model.joint_stride;
    for (std::int64_t n = g * G; n < g * G + G && n < tile.n_rows; ++n)
        for (std::int64_t k = 0; k < K; ++k) tile.out_log_joint[n * K + k] = joint[k * G + n % G];
}

// Writes the responsibilities of the tile, after finish_posterior.
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

// Writes a vector of rows from row n on, as many as the tile has.
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

// The smallest number of a vector.
template <class T>
T smallest(Lanes<T> a) {
    T lanes[Lanes<T>::width];
    a.store(lanes);
    T least = static_cast<T>(runtime::infinity);
    for (const T b : lanes) least = b < least ? b : least;
    return least;
}

// From the sums of all rows to inverse_sum, row_scale and the tile's sums, where rows have no
// weights and no outputs. The sum of the logarithms of many rows is that of their product. It has
// so many factors that it cannot overflow: a factor is between 1 and the number of components. The
// lowest evidence is below a row's maximum or that of a row seen before.
template <class T>
void finish_plain_posterior(const Model<T>& model, Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
    int bits = 1;
    for (std::int64_t k = model.n_components; k > 1; k /= 2) ++bits;
    const int factors = (sizeof(T) == 8 ? 1000 : 120) / bits;
    RowSums<T> evidence_sum;
    V product = V::set(T(1));
    int multiplied = 0;
    T lowest = static_cast<T>(runtime::infinity);
    for (std::int64_t n = 0; n < group_count(tile) * group_rows<T>; n += W) {
        const V s = V::load(tile.inverse_sum + n), m = V::load(tile.row_max + n);
        const V weight = V::load(tile.row_weight + n);
        const auto some = less(V::zero(), s);
        const V inverse = V::select(some, V::set(T(1)) / s, V::zero());
        inverse.store(tile.inverse_sum + n);
        (inverse * weight).store(tile.row_scale + n);
        if (n + W > tile.n_rows || V::bits(some) != all || V::bits(less(m, V::set(lowest)))) {
            const V evidence = m + V::select(some, log_positive(s), V::zero());
            const V infinity = V::set(static_cast<T>(runtime::infinity));
            const T least = smallest<T>(V::select(less(V::zero(), weight), evidence, infinity));
            lowest = least < lowest ? least : lowest;
            evidence_sum.add(tile, n, evidence);
            continue;
        }
        m.add_to(evidence_sum.lanes);
        product = product * s;
        if (++multiplied < factors) continue;
        log_positive(product).add_to(evidence_sum.lanes);
        product = V::set(T(1));
        multiplied = 0;
    }
    log_positive(product).add_to(evidence_sum.lanes);
    tile.sums.weight = sum_weights(tile);
    tile.sums.log_evidence = tile.sums.expected_log_joint = evidence_sum.total();
    tile.sums.lowest_log_evidence = static_cast<double>(lowest);
}

// From the sums of all rows to inverse_sum and row_scale, the per-row outputs, and the tile's sums.
template <class T, bool entropy>
void finish_posterior(Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    RowSums<T> evidence_sum, entropy_sum;
    const V infinity = V::set(static_cast<T>(runtime::infinity));
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
    tile.sums.weight = sum_weights(tile);
    tile.sums.log_evidence = evidence_sum.total();
    // The sum that must hold to the last bits is evidence = expected + entropy.
    tile.sums.entropy = entropy_sum.total();
    tile.sums.expected_log_joint = tile.sums.log_evidence - tile.sums.entropy;
    tile.sums.lowest_log_evidence = static_cast<double>(smallest<T>(lowest));
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
    const T inf = static_cast<T>(runtime::infinity);
    const auto set_impossible = [&tile, inf](T* values, T value) {
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            if (tile.row_max[n] == -inf) values[n] = value;
    };
    const bool settled = tile.out_labels || tile.out_resp;
    if (settled) set_impossible(tile.row_scale, inf);
    if (entropy)
        finish_posterior<T, true>(tile);
    else if (!tile.weights && !tile.out_log_evidence && !settled)
        finish_plain_posterior(model, tile);
    else
        finish_posterior<T, false>(tile);
    if (settled) set_impossible(tile.row_scale, T(0));
    if (tile.out_resp) write_resp(model, tile);
    if (!tile.out_gradient) return;
    set_impossible(tile.inverse_sum, T(0));
    gradient_step(model, tile);
}
