// The log-joint of components that need no product of a factor: diagonal, spherical, and tied where
// the rows are whitened already.
//
// In: a group of rows, and by form: diag, pairs (scale, intercept) by feature, (n_components,
// n_features, 2); spherical, means of stride padded_features; tied, whitened means of stride
// n_features, while the rows are the whitened ones in tile.group_scratch.
// Out: the components' rows of tile.joint, and the maxima.
//
// Blocking: diag_components or distance_components, times row_vectors, sums stay in registers, and
// a feature of the rows is read once for all of them. See log_joint-inl.h for the error.

// sum_d (x_d scale_kd + intercept_kd)^2 for `n` components at once.
template <class T, int n>
inline void diag_block(const T* x, const T* pairs, std::int64_t n_features,
                       Lanes<T> (*acc)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    VBFAST_UNROLL(8)
    for (int k = 0; k < n; ++k) VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) acc[k][v] = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        V xd[RV];
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        for (int k = 0; k < n; ++k) {
            const T* pair = pairs + 2 * (k * n_features + d);
            const V s = V::set(pair[0]), b = V::set(pair[1]);
            for (int v = 0; v < RV; ++v) {
                const V t = fma(xd[v], s, b);
                acc[k][v] = fma(t, t, acc[k][v]);
            }
        }
    }
}

// sum_d (x_d - mean_kd)^2 for `n` components at once.
template <class T, int n>
inline void distance_block(const T* x, const T* means, std::int64_t stride, std::int64_t n_features,
                           Lanes<T> (*acc)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    VBFAST_UNROLL(8)
    for (int k = 0; k < n; ++k) VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) acc[k][v] = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        V xd[RV];
        VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        VBFAST_UNROLL(8)
        for (int k = 0; k < n; ++k) {
            const V m = V::set(means[k * stride + d]);
            VBFAST_UNROLL(8)
            for (int v = 0; v < RV; ++v) {
                const V t = xd[v] - m;
                acc[k][v] = fma(t, t, acc[k][v]);
            }
        }
    }
}

// sum_d (x_d - mean_kd)^2 for `n` components at once, of rows as they came. Where it is scaled,
// differences are multiplied by the scales of `pairs` before they are squared.
template <class T, int n, bool scaled>
inline void deviation_block(const Model<T>& model, const T* x, const T* pairs, std::int64_t k,
                            Lanes<T> (*acc)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    VBFAST_UNROLL(8)
    for (int i = 0; i < n; ++i) VBFAST_UNROLL(8)
    for (int v = 0; v < RV; ++v) acc[i][v] = V::zero();
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        V xd[RV];
        VBFAST_UNROLL(8)
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        VBFAST_UNROLL(8)
        for (int i = 0; i < n; ++i) {
            const Centre<T> centre(model, k + i, d);
            VBFAST_UNROLL(8)
            for (int v = 0; v < RV; ++v) {
                V t = centre.subtract_from(xd[v]);
                if constexpr (scaled) t = t * V::set(pairs[2 * (i * model.n_features + d)]);
                acc[i][v] = fma(t, t, acc[i][v]);
            }
        }
    }
}

template <class T, int n>
inline void diag_log_joint_block(const Model<T>& model, Tile<T>& tile, std::int64_t g,
                                 std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    const T* x = tile.features + g * (D + 2) * G;
    T* joint = tile.joint + g * model.joint_stride;
    const T* pairs = model.factor + 2 * k * D;
    V acc[n][Blocking::row_vectors];
    if (all_near<T, n>(model, k))
        diag_block<T, n>(x, pairs, D, acc);
    else
        deviation_block<T, n, true>(model, uncentred_group(model, tile, g), pairs, k, acc);
    finish_joint<T, n>(acc, nullptr, model.offset + k, joint + k * G, tile.row_max + g * G);
}

template <class T>
void diag_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t first,
                    std::int64_t last) {
    for_blocks<T, Blocking::diag_components>(
        model, first, last, [&](auto count, std::int64_t k) VBFAST_INLINED {
            diag_log_joint_block<T, count.value>(model, tile, g, k);
        });
}

template <class T, int n, bool some_far>
inline void distance_log_joint_block(const Model<T>& model, Tile<T>& tile, const T* x,
                                     const T* means, std::int64_t stride, std::int64_t g,
                                     std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    T* joint = tile.joint + g * model.joint_stride;
    V acc[n][Blocking::row_vectors];
    if (some_far && !all_near<T, n>(model, k))
        deviation_block<T, n, false>(model, uncentred_group(model, tile, g), nullptr, k, acc);
    else
        distance_block<T, n>(x, means + k * stride, stride, model.n_features, acc);
    finish_joint<T, n>(acc, model.half_precision ? model.half_precision + k : nullptr,
                       model.offset + k, joint + k * G, tile.row_max + g * G);
}

// Spherical: distances of the rows. Tied, where all components are near: of the whitened rows.
// Whether some component is far is known to the compiler, as components of few features are too
// short to be asked one block at a time.
template <class T, bool some_far>
void distance_log_joint(const Model<T>& model, Tile<T>& tile, const T* x, std::int64_t g,
                        std::int64_t first, std::int64_t last) {
    const bool tied = model.form == Form::tied;
    const T* means = tied ? model.whitened_means : model.means;
    const std::int64_t stride = tied ? model.n_features : model.padded_features;
    for_blocks<T, Blocking::distance_components>(
        model, first, last, [&](auto count, std::int64_t k) VBFAST_INLINED {
            distance_log_joint_block<T, count.value, some_far>(model, tile, x, means, stride, g, k);
        });
}
