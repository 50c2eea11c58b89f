// The nearest of many centres: the local step of k-means.
//
// In: tile.features, with squared norms for products, and means of stride padded_features.
// Out: tile.label, tile.row_scale (the weights of the rows), labels and the tile's sums.
//
// By distances, a score is the log-joint of a spherical component. By products, argmin_k
// |x - m_k|^2 is argmax_k of x m_k - |m_k|^2 / 2, one multiplication and addition a feature.
//
// Error: by distances as in log_joint-inl.h, with its operations. By products a score is off by
// about n_features epsilon |x| |m_k|, both from the origin. |x - m_k|^2 is off by a part of its own
// size, which may be less. estep/packing.cpp chooses products only where all centres lie around the
// origin.
//
// Blocking: distance_components times row_vectors scores stay in registers; only the best score of
// a row and its component go through memory, once a block. Of equal scores the first one stays.

// x m_k - |m_k|^2 / 2 of group g for `n` centres from k on.
template <class T, int n>
inline void product_scores(const Model<T>& model, const Tile<T>& tile, std::int64_t g,
                           std::int64_t k, Lanes<T> (*score)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    const T* x = tile.features + g * (model.n_features + 2) * G;
    for (int i = 0; i < n; ++i)
        for (int v = 0; v < RV; ++v) score[i][v] = V::zero() - V::set(model.half_norm[k + i]);
    const T* means = model.means + k * model.padded_features;
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        V xd[RV];
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        for (int i = 0; i < n; ++i) {
            const V m = V::set(means[i * model.padded_features + d]);
            for (int v = 0; v < RV; ++v) score[i][v] = fma(xd[v], m, score[i][v]);
        }
    }
}

// Their log-joints.
template <class T, int n>
inline void distance_scores(const Model<T>& model, const Tile<T>& tile, std::int64_t g,
                            std::int64_t k, Lanes<T> (*score)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, RV = Blocking::row_vectors;
    const std::int64_t D = model.n_features, P = model.padded_features;
    if (all_near<T, n>(model, k))
        distance_block<T, n>(tile.features + g * (D + 2) * G, model.means + k * P, P, D, score);
    else
        deviation_block<T, n, false>(model, uncentred_group(model, tile, g), nullptr, k, score);
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) {
        const V weight = V::set(model.half_precision[k + i]), offset = V::set(model.offset[k + i]);
        VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) score[i][v] = fnma(weight, score[i][v], offset);
    }
}

template <class T, int n, bool by_distance>
inline void nearest_block(const Model<T>& model, const Tile<T>& tile, std::int64_t g,
                          std::int64_t k, T* label) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V score[n][RV];
    if constexpr (by_distance)
        distance_scores<T, n>(model, tile, g, k, score);
    else
        product_scores<T, n>(model, tile, g, k, score);
    T* best = tile.row_max + g * G;
    label += g * G;
    VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) {
        V highest = V::load(best + v * W), name = V::load(label + v * W);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            name = V::select(less(highest, score[i][v]), V::set(static_cast<T>(k + i)), name);
            highest = max(score[i][v], highest);
        }
        highest.store(best + v * W);
        name.store(label + v * W);
    }
}

// Fills tile.row_max with the best scores, and `label` with their components as numbers of type T.
template <class T, bool by_distance>
void nearest_scores(const Model<T>& model, Tile<T>& tile, T* label) {
    constexpr int G = group_rows<T>;
    for (std::int64_t i = 0; i < group_count(tile) * G; ++i) {
        tile.row_max[i] = -static_cast<T>(runtime::infinity);
        label[i] = T(0);
    }
    const auto evaluate = [&](std::int64_t g, std::int64_t k, std::int64_t last) {
        for_blocks<T, Blocking::distance_components>(
            model, k, last, [&](auto count, std::int64_t first) VBFAST_INLINED {
                nearest_block<T, count.value, by_distance>(model, tile, g, first, label);
            });
    };
    const std::int64_t n_groups = group_count(tile), size = sizeof(T);
    const Visits visits = by_distance
                              ? plan_visits(model, n_groups)
                              : Visits{n_groups, parameter_block(size * (model.n_features + 1))};
    visit_components(model, tile, visits, evaluate, [](std::int64_t) {});
}

// Fills tile.label, tile.row_scale and the sums.
template <class T>
void nearest_step(const Model<T>& model, Tile<T>& tile) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const std::int64_t D = model.n_features;
    T* label = tile.row_scale;  // until labels are final
    nearest_scores<T, false>(model, tile, label);
    if (stops(tile)) return;
    for (std::int64_t i = 0; i < tile.n_rows; ++i)
        tile.label[i] = static_cast<std::int32_t>(label[i]);
    if (tile.out_labels)
        for (std::int64_t i = 0; i < tile.n_rows; ++i) tile.out_labels[i] = tile.label[i];
    RowSums<T> distances;
    for (std::int64_t n = 0; n < group_count(tile) * G; n += W) {
        const V norm = V::load(tile.features + n / G * (D + 2) * G + (D + 1) * G + n % G);
        const V distance = fnma(V::set(T(2)), V::load(tile.row_max + n), norm);
        distances.add(tile, n, max(distance, V::zero()));
        V::load(tile.row_weight + n).store(tile.row_scale + n);
    }
    tile.sums.weight = sum_weights(tile);
    tile.sums.expected_log_joint = tile.sums.weight * static_cast<double>(model.offset[0]) -
                                   static_cast<double>(model.half_precision[0]) * distances.total();
}
