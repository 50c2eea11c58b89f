// Responsibilities that need not be the posterior: the best component (hard), given labels, or
// given responsibilities.
//
// In: tile.joint with tile.row_max; tile.given or tile.given_label.
// Out: per-row outputs, the tile's sums, and for the summary step tile.label and tile.row_scale (by
// label), or tile.joint and tile.row_scale (given responsibilities).
//
// Error: of an evidence and its terms as in posterior-inl.h; a hard or given responsibility is what
// it is, but rounded to T.
//
// One row and one component at a time, in float64: such passes start a fit or evaluate a bound
// once. Hard assignment without evidence, as in k-means, takes the maxima as they are.

// Whether each row has all its mass on tile.label.
template <class T>
bool by_label(const Tile<T>& tile) {
    return tile.assignment == Assignment::hard || tile.given_label != nullptr;
}

// The terms of row n, with responsibilities q(k).
template <class T, class Q>
void general_row(const Model<T>& model, Tile<T>& tile, std::int64_t n, Q q) {
    constexpr int G = group_rows<T>;
    const T* joint = tile.joint + n / G * model.joint_stride + n % G;
    const double largest = static_cast<double>(tile.row_max[n]);
    const double inf = runtime::infinity;
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

// The sums and outputs of rows on their best components, where no evidence is wanted.
template <class T>
void best_scores(Tile<T>& tile) {
    using V = Lanes<T>;
    RowSums<T> scores;
    for (std::int64_t n = 0; n < tile.n_rows; n += V::width)
        scores.add(tile, n, V::load(tile.row_max + n));
    tile.sums.weight = sum_weights(tile);
    tile.sums.expected_log_joint = scores.total();
    if (tile.out_expected_log_joint)
        for (std::int64_t n = 0; n < tile.n_rows; ++n)
            tile.out_expected_log_joint[n] = tile.row_max[n];
}

// All mass of a row on one component: the best one, or the given one.
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
    for (std::int64_t n = 0; n < tile.n_rows; ++n) tile.row_scale[n] = tile.row_weight[n];
    if (!evidence && tile.assignment == Assignment::hard) {  // k-means: nothing but distances
        best_scores(tile);
        return;
    }
    for (std::int64_t n = 0; n < tile.n_rows; ++n) {
        const std::int32_t label = tile.label[n];
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
