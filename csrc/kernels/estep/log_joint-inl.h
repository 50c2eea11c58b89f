// Log-joint l_nk = offset_k - 1/2 ||(x_n - mu_k) P_k||^2 of a tile, lanes across rows.
//
// A group of rows (four vectors with AVX-512) meets one component or a few at a time, so that every
// parameter is broadcast once for all rows of the group and the squares stay in registers.
// Components are taken in blocks whose parameters fit half of L2, and all groups of the tile visit
// a block before the next is fetched.
//
// Factor layout, full and tied: columns in blocks of factor_columns, the first block holding the
// remainder (n_features mod factor_columns columns, if any) because it is the shortest. A block
// with columns j..j+J stores rows 0..j-1 as J numbers each and rows j..j+J-1 as the J, J-1, ..., 1
// numbers on and right of the diagonal: exactly D (D + 1) / 2 numbers, no multiplication by a
// stored zero.

constexpr std::int64_t half_of_l2 = 256 << 10;

// Components whose parameters, of so many bytes each, fit `bytes`; a multiple of every register
// block where more than one register block fits.
inline std::int64_t parameter_block(std::int64_t component_bytes, std::int64_t bytes = half_of_l2) {
    const std::int64_t block = bytes / component_bytes;
    return block > 24 ? block / 24 * 24 : (block > 1 ? block : 1);
}

// Whether the squares so far alone put a component so far below another one that its
// responsibilities are zero for all rows of the group. Then the rest of them can be left out, and
// no bit of what follows changes: squares only grow, maxima of rows too, and rounding keeps the
// order.
template <class T>
inline bool negligible(const Lanes<T>* squares, T offset, const T* row_max) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
    unsigned below = all;
#pragma GCC unroll 8
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        const V l = fnma(V::set(T(0.5)), squares[v], V::set(offset));
        below &= V::bits(less(l - V::load(row_max + v * W), V::set(ExpConstants<T>::zero_at)));
    }
    return below == all;
}

// Leaves the sums of squares of negligible components early. It counts in a tile how often it asked
// for that and how often it could: with dense posteriors it cannot, and asking would cost some
// percent for nothing. After a trial, which is a few percent of what a tile asks, one answer in
// sixteen has to be yes.
struct EarlyExit {
    bool allowed;  // responsibilities are all that is wanted
    std::int64_t asked = 0;
    std::int64_t taken = 0;

    bool pays() const { return allowed && asked < 2048 + 16 * taken; }

    template <class T>
    bool leave(const Lanes<T>* squares, T offset, const T* row_max) {
        const bool possible = negligible(squares, offset, row_max);
        ++asked;
        taken += possible;
        return possible;
    }
};

// acc[v] += sum over J columns of (intercept_j + sum_i x_i P_ij)^2, or stores the columns.
template <class T, int J, bool store>
inline const T* factor_block(const T* x, const T* factor, const T* intercept, std::int64_t j0,
                             Lanes<T>* acc, T* out) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    V y[J][RV];
    for (int j = 0; j < J; ++j)
        for (int v = 0; v < RV; ++v) y[j][v] = intercept ? V::set(intercept[j0 + j]) : V::zero();
    for (std::int64_t i = 0; i < j0; ++i, x += G, factor += J) {
        V xi[RV];
        for (int v = 0; v < RV; ++v) xi[v] = V::load(x + v * W);
        for (int j = 0; j < J; ++j) {
            const V p = V::set(factor[j]);
            for (int v = 0; v < RV; ++v) y[j][v] = fma(xi[v], p, y[j][v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < J; ++i) {
#pragma GCC unroll 8
        for (int j = i; j < J; ++j) {
            const V p = V::set(*factor++);
            for (int v = 0; v < RV; ++v) y[j][v] = fma(V::load(x + i * G + v * W), p, y[j][v]);
        }
    }
    for (int j = 0; j < J; ++j)
        for (int v = 0; v < RV; ++v) {
            if constexpr (store)
                y[j][v].store(out + (j0 + j) * G + v * W);
            else
                acc[v] = fma(y[j][v], y[j][v], acc[v]);
        }
    return factor;
}

// All columns of one factor for one group, unless `leave(squares)` says between two blocks of them
// that the squares so far will do.
template <class T, int first_columns, bool store, class Leave>
inline void apply_factor(const T* x, const T* factor, const T* intercept, std::int64_t n_features,
                         Lanes<T>* acc, T* out, const Leave& leave) {
    constexpr int J = Blocking::factor_columns, RV = Blocking::row_vectors;
    std::int64_t j = 0;
    if constexpr (first_columns > 0) {
        factor = factor_block<T, first_columns, store>(x, factor, intercept, 0, acc, out);
        j = first_columns;
    }
    for (; j < n_features; j += J) {
        if constexpr (!store) {
            // So many numbers of the factor have to be left that asking costs little beside them.
            constexpr std::int64_t least = 256;
            if (n_features * n_features - j * j >= 2 * least) {
                // A copy: the sums themselves must not need an address, to stay in registers.
                Lanes<T> squares[RV];
                for (int v = 0; v < RV; ++v) squares[v] = acc[v];
                if (leave(squares)) return;
            }
        }
        factor = factor_block<T, J, store>(x, factor, intercept, j, acc, out);
    }
}

// All columns of one factor for one group, kept.
template <class T, int first_columns>
inline void store_columns(const T* x, const T* factor, const T* intercept, std::int64_t n_features,
                          T* out) {
    apply_factor<T, first_columns, true>(x, factor, intercept, n_features, nullptr, out, nullptr);
}

// A mean in one feature, as rows that are kept as they came are centred with it: the first
// difference is exact for rows about as far from the origin as the mean, the second takes off what
// rounding to float32 left of that.
template <class T>
struct Centre {
    Lanes<T> rounded, remainder;

    Centre(const Model<T>& model, std::int64_t k, std::int64_t d)
        : rounded(Lanes<T>::set(model.centres[k * model.padded_features + d])),
          remainder(Lanes<T>::zero()) {
        if constexpr (sizeof(T) == 4)
            remainder = Lanes<T>::set(model.remainder[k * model.padded_features + d]);
    }
    Lanes<T> subtract_from(Lanes<T> x) const {
        if constexpr (sizeof(T) == 4) return (x - rounded) - remainder;
        return x - rounded;
    }
};

// x - mean_k of group g into scratch, for components that are far from the shift.
template <class T>
const T* centre_group(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const T* x = uncentred_group(model, tile, g);
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        const Centre<T> centre(model, k, d);
        for (int v = 0; v < Blocking::row_vectors; ++v)
            centre.subtract_from(V::load(x + d * G + v * W))
                .store(tile.group_scratch + d * G + v * W);
    }
    return tile.group_scratch;
}

// acc[v] += |y|^2, in the order of apply_factor.
template <class T>
inline void add_squares(const T* y, std::int64_t n_features, Lanes<T>* acc) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    for (std::int64_t d = 0; d < n_features; ++d)
        for (int v = 0; v < Blocking::row_vectors; ++v) {
            const V yd = V::load(y + d * G + v * W);
            acc[v] = fma(yd, yd, acc[v]);
        }
}

// Stores offset_k - weight_k acc for `n` components, and raises the maxima of the rows once.
template <class T, int n>
inline void finish_joint(const Lanes<T> (*acc)[Blocking::row_vectors], const T* weights,
                         const T* offsets, T* joint, T* row_max) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
#pragma GCC unroll 8
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        V largest = V::load(row_max + v * W);
#pragma GCC unroll 8
        for (int i = 0; i < n; ++i) {
            const V weight = V::set(weights ? weights[i] : T(0.5));
            const V l = fnma(weight, acc[i][v], V::set(offsets[i]));
            l.store(joint + i * G + v * W);
            largest = max(l, largest);
        }
        largest.store(row_max + v * W);
    }
}

// Whether `n` components from k on are near.
template <class T, int n>
inline bool all_near(const Model<T>& model, std::int64_t k) {
    bool near = true;
    if (!model.all_near)
        for (int i = 0; i < n; ++i) near = near && model.near[k + i];
    return near;
}

template <class T, int first_columns, int n>
inline void factor_log_joint_block(const Model<T>& model, Tile<T>& tile, std::int64_t g,
                                   std::int64_t k, EarlyExit& early_exit) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    const T* x = tile.features + g * (D + 2) * G;
    const bool tied = model.covariance == Covariance::tied;
    T* row_max = tile.row_max + g * G;
    V acc[n][Blocking::row_vectors];
    for (int i = 0; i < n; ++i) {
        const T* factor = model.factor + (k + i) * model.factor_stride;
        const bool near = !tied && model.near[k + i];
        const T* rows = near ? x : centre_group(model, tile, g, k + i);
        const T* intercept = near ? model.intercept + (k + i) * D : nullptr;
        for (V& a : acc[i]) a = V::zero();
        if (n == 1 && tile.whitened) {
            T* y = tile.whitened + (g * model.n_components + k) * D * G;
            store_columns<T, first_columns>(rows, factor, intercept, D, y);
            add_squares(y, D, acc[i]);
        } else {
            apply_factor<T, first_columns, false>(
                rows, factor, intercept, D, acc[i], nullptr, [&](const V* squares) {
                    return early_exit.pays() &&
                           early_exit.leave(squares, model.offset[k + i], row_max);
                });
        }
    }
    finish_joint<T, n>(acc, nullptr, model.offset + k, tile.joint + g * model.joint_stride + k * G,
                       row_max);
}

// `n` components near the shift that have one block of columns, D of them: all offsets are known to
// the compiler, which counts where a component takes no more than some ten operations.
template <class T, int D, int n>
inline void few_columns_block(const Model<T>& model, Tile<T>& tile, std::int64_t g,
                              std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
    const T* x = tile.features + g * (D + 2) * G;
    const T* factor = model.factor + k * (D * (D + 1) / 2);
    const T* intercept = model.intercept + k * D;
    V acc[n][RV];
    for (int c = 0; c < n; ++c)
        for (int j = 0; j < D; ++j) {
            V y[RV];
            for (V& a : y) a = V::set(intercept[c * D + j]);
            for (int i = 0; i <= j; ++i) {
                const V p = V::set(factor[c * (D * (D + 1) / 2) + i * D - i * (i - 1) / 2 + j - i]);
                for (int v = 0; v < RV; ++v) y[v] = fma(V::load(x + i * G + v * W), p, y[v]);
            }
            for (int v = 0; v < RV; ++v)
                acc[c][v] = j > 0 ? fma(y[v], y[v], acc[c][v]) : y[v] * y[v];
        }
    finish_joint<T, n>(acc, nullptr, model.offset + k, tile.joint + g * model.joint_stride + k * G,
                       tile.row_max + g * G);
}

// One block of columns: the maxima of the rows, which go through memory, would be the longest chain
// if it were one component at a time. Returns how far it got.
template <class T, int first_columns>
std::int64_t few_columns_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g,
                                   std::int64_t first, std::int64_t last, EarlyExit& early_exit) {
    constexpr int n = Blocking::factor_components, J = Blocking::factor_columns;
    std::int64_t k = first;
    for (; k + n <= last; k += n) {
        if (all_near<T, n>(model, k))
            few_columns_block<T, first_columns ? first_columns : J, n>(model, tile, g, k);
        else
            factor_log_joint_block<T, first_columns, n>(model, tile, g, k, early_exit);
    }
    return k;
}

template <class T, int first_columns>
void factor_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t first,
                      std::int64_t last, EarlyExit& early_exit) {
    std::int64_t k = first;
    if (model.n_features <= Blocking::factor_columns && model.covariance == Covariance::full)
        k = few_columns_log_joint<T, first_columns>(model, tile, g, first, last, early_exit);
    for (; k < last; ++k)
        factor_log_joint_block<T, first_columns, 1>(model, tile, g, k, early_exit);
}

// sum_d (x_d scale_kd + shift_kd)^2 for `n` components at once; pairs (scale, shift) by feature.
template <class T, int n>
inline void diag_block(const T* x, const T* pairs, std::int64_t n_features,
                       Lanes<T> (*acc)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
#pragma GCC unroll 8
    for (int k = 0; k < n; ++k)
#pragma GCC unroll 8
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
#pragma GCC unroll 8
    for (int k = 0; k < n; ++k)
#pragma GCC unroll 8
        for (int v = 0; v < RV; ++v) acc[k][v] = V::zero();
    for (std::int64_t d = 0; d < n_features; ++d) {
        V xd[RV];
#pragma GCC unroll 8
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
#pragma GCC unroll 8
        for (int k = 0; k < n; ++k) {
            const V m = V::set(means[k * stride + d]);
#pragma GCC unroll 8
            for (int v = 0; v < RV; ++v) {
                const V t = xd[v] - m;
                acc[k][v] = fma(t, t, acc[k][v]);
            }
        }
    }
}

// sum_d (x_d - mean_kd)^2 for `n` components at once, of rows as they came; times the scales of
// `pairs`, if they are scaled, before they are squared.
template <class T, int n, bool scaled>
inline void deviation_block(const Model<T>& model, const T* x, const T* pairs, std::int64_t k,
                            Lanes<T> (*acc)[Blocking::row_vectors]) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width, RV = Blocking::row_vectors;
#pragma GCC unroll 8
    for (int i = 0; i < n; ++i)
#pragma GCC unroll 8
        for (int v = 0; v < RV; ++v) acc[i][v] = V::zero();
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        V xd[RV];
        for (int v = 0; v < RV; ++v) xd[v] = V::load(x + d * G + v * W);
        for (int i = 0; i < n; ++i) {
            const Centre<T> centre(model, k + i, d);
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
    constexpr int n = Blocking::diag_components;
    std::int64_t k = first;
    for (; k + n <= last; k += n) diag_log_joint_block<T, n>(model, tile, g, k);
    for (; k < last; ++k) diag_log_joint_block<T, 1>(model, tile, g, k);
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

// Spherical: distances of the rows; tied, where all components are near: of the whitened rows, in
// scratch. Components of few features are too short to be asked one block at a time whether some
// component is far.
template <class T, bool some_far>
void distance_log_joint(const Model<T>& model, Tile<T>& tile, const T* x, std::int64_t g,
                        std::int64_t first, std::int64_t last) {
    constexpr int n = Blocking::distance_components;
    const bool tied = model.covariance == Covariance::tied;
    const T* means = tied ? model.whitened_means : model.means;
    const std::int64_t stride = tied ? model.n_features : model.padded_features;
    std::int64_t k = first;
    for (; k + n <= last; k += n)
        distance_log_joint_block<T, n, some_far>(model, tile, x, means, stride, g, k);
    for (; k < last; ++k)
        distance_log_joint_block<T, 1, some_far>(model, tile, x, means, stride, g, k);
}

// So many groups of rows meet so many components before either changes.
struct Visits {
    std::int64_t groups;
    std::int64_t components;
};

// Parameters that fit half of L2 are read from L1 but for the first group of a visit, whose
// log-joint stays in L2. Parameters that do not fit are read from memory once a tile.
template <class T>
Visits plan_visits(const Model<T>& model, std::int64_t n_groups) {
    constexpr std::int64_t third_of_l1 = 12 << 10, joint = 64 << 10;
    const std::int64_t n_components = model.n_components;
    const std::int64_t component_bytes =
        static_cast<std::int64_t>(sizeof(T)) *
        (model.factor_stride > 0 ? model.factor_stride : model.n_features + 1);
    if (component_bytes * n_components > half_of_l2)
        return {n_groups, parameter_block(component_bytes)};
    // The rows of a tied model are whitened anew at every visit.
    if (model.covariance == Covariance::tied) return {1, n_components};
    const std::int64_t group_bytes =
        n_components * group_rows<T> * static_cast<std::int64_t>(sizeof(T));
    const std::int64_t fitting = joint / group_bytes;
    return {fitting > 1 ? fitting : 1, parameter_block(component_bytes, third_of_l1)};
}

template <class T, int first_columns, class Complete>
void log_joint_with_remainder(const Model<T>& model, Tile<T>& tile, const Complete& complete) {
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features, K = model.n_components;
    const bool tied = model.covariance == Covariance::tied;
    const Visits visits = plan_visits(model, group_count(tile));
    EarlyExit early_exit{tile.assignment == Assignment::posterior && !tile.out_log_joint};
    for (std::int64_t start = 0; start < group_count(tile); start += visits.groups)
        for (std::int64_t first = 0; first < K; first += visits.components) {
            if (stops(tile)) return;
            const std::int64_t last = first + visits.components < K ? first + visits.components : K;
            for (std::int64_t g = start; g < start + visits.groups && g < group_count(tile); ++g) {
                const T* x = tile.features + g * (D + 2) * G;
                if (tied && model.all_near) {
                    store_columns<T, first_columns>(x, model.factor, nullptr, D,
                                                    tile.group_scratch);
                    distance_log_joint<T, false>(model, tile, tile.group_scratch, g, first, last);
                } else if (tied || model.covariance == Covariance::full) {
                    factor_log_joint<T, first_columns>(model, tile, g, first, last, early_exit);
                } else if (model.covariance == Covariance::diag) {
                    diag_log_joint(model, tile, g, first, last);
                } else if (model.all_near) {
                    distance_log_joint<T, false>(model, tile, x, g, first, last);
                } else {
                    distance_log_joint<T, true>(model, tile, x, g, first, last);
                }
                if (last == K) complete(g);
            }
        }
}

template <class T, int columns, class Complete>
void log_joint_dispatch(const Model<T>& model, Tile<T>& tile, const Complete& complete,
                        int remainder) {
    if constexpr (columns < Blocking::factor_columns) {
        if (remainder == columns)
            log_joint_with_remainder<T, columns>(model, tile, complete);
        else
            log_joint_dispatch<T, columns + 1>(model, tile, complete, remainder);
    }
}

// Fills tile.joint and tile.row_max. complete(g) is called once group g has all its components,
// which are in L1 then unless they are many.
template <class T, class Complete>
void log_joint(const Model<T>& model, Tile<T>& tile, const Complete& complete) {
    const std::int64_t n = group_count(tile) * group_rows<T>;
    for (std::int64_t i = 0; i < n; ++i) tile.row_max[i] = -static_cast<T>(__builtin_inf());
    log_joint_dispatch<T, 0>(model, tile, complete,
                             static_cast<int>(model.n_features % Blocking::factor_columns));
}
