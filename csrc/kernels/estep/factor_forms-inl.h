// The log-joint of components with a triangular factor: full, and tied where some component is far.
//
// In: a group of rows, and factors of (n_features, n_features), upper triangular, in blocks of
// factor_columns columns. The first block holds the remainder, n_features mod factor_columns
// columns if there are any, because it is the shortest. A block with columns j to j + J - 1 stores
// rows 0 to j - 1 as J numbers each, and rows j to j + J - 1 as the J, J - 1, ..., 1 numbers on and
// right of the diagonal: D (D + 1) / 2 numbers in all, so that nothing is multiplied by a stored
// zero. Out: the component's row of tile.joint, and the maxima; the whitened rows where the tile
// keeps them.
//
// Blocking: factor_columns times row_vectors sums stay in registers while the rows of a block are
// read once. See log_joint-inl.h for the error.

// acc[v] += sum over J columns from j0 on of (intercept_j + sum_i x_i P_ij)^2, or stores the
// columns. A null intercept is zero. Returns where the next block of the factor begins.
template <class T, int J, bool store>
inline const T* column_block(const T* x, const T* factor, const T* intercept, std::int64_t j0,
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
    VBFAST_UNROLL(8)
    for (int i = 0; i < J; ++i) {
        VBFAST_UNROLL(8)
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

// All columns of one factor for one group. Between two blocks of them `exits(squares)` may end it
// early, with the squares so far.
template <class T, int first_columns, bool store, class Exits>
inline void apply_factor(const T* x, const T* factor, const T* intercept, std::int64_t n_features,
                         Lanes<T>* acc, T* out, const Exits& exits) {
    constexpr int J = Blocking::factor_columns, RV = Blocking::row_vectors;
    std::int64_t j = 0;
    if constexpr (first_columns > 0) {
        factor = column_block<T, first_columns, store>(x, factor, intercept, 0, acc, out);
        j = first_columns;
    }
    for (; j < n_features; j += J) {
        if constexpr (!store) {
            if (n_features * n_features - j * j >= 2 * tuning::early_exit_factor) {
                // A copy: the sums themselves must not need an address, to stay in registers.
                Lanes<T> squares[RV];
                for (int v = 0; v < RV; ++v) squares[v] = acc[v];
                if (exits(squares)) return;
            }
        }
        factor = column_block<T, J, store>(x, factor, intercept, j, acc, out);
    }
}

// out = x P + intercept, (n_features, group rows).
template <class T, int first_columns>
inline void store_columns(const T* x, const T* factor, const T* intercept, std::int64_t n_features,
                          T* out) {
    apply_factor<T, first_columns, true>(x, factor, intercept, n_features, nullptr, out, nullptr);
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

template <class T, int first_columns, int n>
inline void factor_log_joint_block(const Model<T>& model, Tile<T>& tile, std::int64_t g,
                                   std::int64_t k, EarlyExit& early_exit) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    const std::int64_t D = model.n_features;
    const T* x = tile.features + g * (D + 2) * G;
    const bool tied = model.form == Form::tied;
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
                           early_exit.ask(squares, model.offset[k + i], row_max);
                });
        }
    }
    finish_joint<T, n>(acc, nullptr, model.offset + k, tile.joint + g * model.joint_stride + k * G,
                       row_max);
}

// `n` near components with one block of D columns. The compiler knows all offsets, which counts
// where a component takes no more than some ten operations.
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

// Factors of one block of columns, several components at a time: one at a time, the maxima of the
// rows, which go through memory, would be the longest chain.
template <class T, int first_columns>
void few_columns_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t first,
                           std::int64_t last, EarlyExit& early_exit) {
    constexpr int J = first_columns ? first_columns : Blocking::factor_columns;
    for_blocks<T, Blocking::factor_components>(
        model, first, last, [&](auto count, std::int64_t k) VBFAST_INLINED {
            constexpr int n = count.value;
            if (all_near<T, n>(model, k))
                few_columns_block<T, J, n>(model, tile, g, k);
            else
                factor_log_joint_block<T, first_columns, n>(model, tile, g, k, early_exit);
        });
}

template <class T, int first_columns>
void factor_log_joint(const Model<T>& model, Tile<T>& tile, std::int64_t g, std::int64_t first,
                      std::int64_t last, EarlyExit& early_exit) {
    if (model.n_features <= Blocking::factor_columns && model.form == Form::full) {
        few_columns_log_joint<T, first_columns>(model, tile, g, first, last, early_exit);
        return;
    }
    for (std::int64_t k = first; k < last; ++k)
        factor_log_joint_block<T, first_columns, 1>(model, tile, g, k, early_exit);
}
