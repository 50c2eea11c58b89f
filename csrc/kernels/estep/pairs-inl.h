// Log-joints of listed pairs of a row and a component, for posteriors with few candidates a row.
//
// In: PairBlock (candidates.h); rows and parameters are zero-padded to whole vectors.
// Out: its log_joint, a table with rows in lanes.
//
// full: the factor of a component lies in blocks of up to `outer_vectors` vectors of columns, see
// factor_blocks-inl.h. A block has the rows 0 to its last column, each as long as the block is
// wide, with zeros below the diagonal.
//
// Error: a difference x - centre is rounded once, or twice where a centre has a low part, and has
// the digits that the row's own distance allows. Sums over features are in T within a lane, and in
// float64 over lanes and with the offset.
//
// Blocking: lanes go across features, because the rows of a component lie anywhere. Lanes::sums
// pairs of a component are reduced together, and share the loads of its parameters; what is left
// over is filled up with rows that count nowhere, or takes half as many. For the full factor these
// rows are centred in scratch, and meet outer_vectors vectors of columns at a time; of the
// triangle, vectors left of the diagonal are skipped.

template <class T, bool low>
class DiagonalTerms {
  public:
    static constexpr double scale = -0.5;
    DiagonalTerms(const CandidateModel<T>& model, std::int64_t k)
        : centre_(model.centres + k * model.padded_features),
          low_(low ? model.centres_low + k * model.padded_features : nullptr),
          scale_(model.factor + k * model.factor_stride) {}
    // Adds the terms of the features from d on, of n rows.
    template <int n>
    VBFAST_INLINED void add(const T* const* x, std::int64_t d, Lanes<T>* sums) const {
        using V = Lanes<T>;
        const V centre = V::load(centre_ + d), s = V::load(scale_ + d);
        const V rest = low ? V::load(low_ + d) : V::zero();
        for (int r = 0; r < n; ++r) {
            const V difference = V::load(x[r] + d) - centre;
            const V z = low ? fma(difference, s, rest) : difference * s;
            sums[r] = fma(z, z, sums[r]);
        }
    }

  private:
    const T *centre_, *low_, *scale_;
};

template <class T>
class LinearTerms {
  public:
    static constexpr double scale = 1.0;
    LinearTerms(const CandidateModel<T>& model, std::int64_t k)
        : theta_(model.factor + k * model.factor_stride) {}
    template <int n>
    VBFAST_INLINED void add(const T* const* x, std::int64_t d, Lanes<T>* sums) const {
        using V = Lanes<T>;
        const V theta = V::load(theta_ + d);
        for (int r = 0; r < n; ++r) sums[r] = fma(V::load(x[r] + d), theta, sums[r]);
    }

  private:
    const T* theta_;
};

// Asks for the parameters of component i of a block, of which there may be none.
template <class T>
inline void prefetch_component(const CandidateModel<T>& model, const PairBlock<T>& block,
                               std::int64_t i, std::int64_t factor_size) {
    constexpr std::int64_t line = 64 / sizeof(T);
    if (i >= block.n_components) return;
    const std::int64_t k = block.components[i], P = model.padded_features;
    for (std::int64_t d = 0; d < P; d += line) VBFAST_PREFETCH(model.centres + k * P + d);
    if (model.centres_low)
        for (std::int64_t d = 0; d < P; d += line) VBFAST_PREFETCH(model.centres_low + k * P + d);
    for (std::int64_t d = 0; d < factor_size; d += line)
        VBFAST_PREFETCH(model.factor + k * model.factor_stride + d);
}

template <class T, int n, class Terms>
VBFAST_INLINED inline void sum_terms(const Terms& terms, const PairBlock<T>& block,
                                     const std::uint8_t* row, std::int64_t padded,
                                     std::int64_t n_features, Lanes<T>* sums) {
    using V = Lanes<T>;
    const T* x[n];
    for (int r = 0; r < n; ++r) {
        x[r] = block.rows + row[r] * padded;
        sums[r] = V::zero();
    }
    for (std::int64_t d = 0; d < n_features; d += V::width) terms.template add<n>(x, d, sums);
}

// The log-joints of n pairs of a component, by sums of `many` rows, of which those beyond n repeat.
template <class T, int many, class Terms>
VBFAST_INLINED inline void end_pairs(const Terms& terms, const PairBlock<T>& block, std::int64_t p,
                                     int n, double offset, const CandidateModel<T>& model, T* out) {
    using V = Lanes<T>;
    std::uint8_t row[many];
    for (int r = 0; r < many; ++r) row[r] = block.row[p + (r < n ? r : 0)];
    V lanes[V::sums];
    for (int r = many; r < V::sums; ++r) lanes[r] = V::zero();
    sum_terms<T, many>(terms, block, row, model.padded_features, model.n_features, lanes);
    double sums[V::sums];
    for (double& sum : sums) sum = 0;
    V::add_sums(lanes, sums);
    for (int r = 0; r < n; ++r) out[row[r]] = static_cast<T>(offset + Terms::scale * sums[r]);
}

template <class T, class Terms>
void lane_pairs(const CandidateModel<T>& model, const PairBlock<T>& block) {
    constexpr int R = Lanes<T>::sums, half = R > 1 ? R / 2 : 1;
    for (std::int64_t i = 0; i < block.n_components; ++i) {
        const std::int64_t k = block.components[i];
        prefetch_component(model, block, i + 1, model.factor_stride);
        const Terms terms(model, k);
        const double offset = static_cast<double>(model.offset[k]);
        T* const out = block.log_joint + i * candidate_rows;
        std::int64_t p = block.first[i];
        const std::int64_t last = block.first[i + 1];
        for (; p + R <= last; p += R) end_pairs<T, R>(terms, block, p, R, offset, model, out);
        const int n = static_cast<int>(last - p);
        if (n > half)
            end_pairs<T, R>(terms, block, p, n, offset, model, out);
        else if (n > 1)
            end_pairs<T, half>(terms, block, p, n, offset, model, out);
        else if (n == 1)
            end_pairs<T, 1>(terms, block, p, n, offset, model, out);
    }
}

// Adds rows i to last - 1 of a block of columns, from vector `left` on.
template <class T, int R, int n, int left>
VBFAST_INLINED inline void factor_rows(const T* x, std::int64_t padded, const T* factor,
                                       std::int64_t i, std::int64_t last, Lanes<T> (&acc)[R][n]) {
    using V = Lanes<T>;
    for (; i < last; ++i) {
        V right[n];
        for (int v = left; v < n; ++v) right[v] = V::load(factor + (i * n + v) * V::width);
        for (int r = 0; r < R; ++r) {
            const V of_row = V::set(x[r * padded + i]);
            for (int v = left; v < n; ++v) acc[r][v] = fma(of_row, right[v], acc[r][v]);
        }
    }
}

// Adds the squares of n vectors of columns of (x P), from column c on.
template <class T, int R, int n>
void square_columns(const T* x, std::int64_t padded, const T* factor, std::int64_t c,
                    std::int64_t n_features, Lanes<T>* squares) {
    using V = Lanes<T>;
    constexpr std::int64_t W = V::width;
    static_assert(n <= 4, "factor_rows is called for four vectors");
    const auto upto = [&](int v) { return c + v * W < n_features ? c + v * W : n_features; };
    V acc[R][n];
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < n; ++v) acc[r][v] = V::zero();
    factor_rows<T, R, n, 0>(x, padded, factor, 0, upto(1), acc);
    if constexpr (n > 1) factor_rows<T, R, n, 1>(x, padded, factor, upto(1), upto(2), acc);
    if constexpr (n > 2) factor_rows<T, R, n, 2>(x, padded, factor, upto(2), upto(3), acc);
    if constexpr (n > 3) factor_rows<T, R, n, 3>(x, padded, factor, upto(3), upto(4), acc);
    for (int r = 0; r < R; ++r)
        for (int v = 0; v < n; ++v) squares[r] = fma(acc[r][v], acc[r][v], squares[r]);
}

// |x P|^2 in lanes, of R centred rows.
template <class T, int R>
void square_rows(const T* x, std::int64_t padded, const T* factor, std::int64_t n_features,
                 Lanes<T>* squares) {
    constexpr std::int64_t W = Lanes<T>::width;
    constexpr int N = Blocking::outer_vectors;
    for (int r = 0; r < R; ++r) squares[r] = Lanes<T>::zero();
    for (std::int64_t c = 0; c < n_features;) {
        const std::int64_t n = block_vectors((n_features - c + W - 1) / W, N);
        if (n == N) square_columns<T, R, N>(x, padded, factor, c, n_features, squares);
        if constexpr (N > 2)
            if (n == 2) square_columns<T, R, 2>(x, padded, factor, c, n_features, squares);
        if (n == 1) square_columns<T, R, 1>(x, padded, factor, c, n_features, squares);
        c += n * W;
        factor += (c < n_features ? c : n_features) * n * W;
    }
}

template <class T, bool low>
void factor_pairs(const CandidateModel<T>& model, const PairBlock<T>& block) {
    using V = Lanes<T>;
    constexpr int R = V::sums, half = R > 1 ? R / 2 : 1;
    const std::int64_t P = model.padded_features, D = model.n_features;
    for (std::int64_t i = 0; i < block.n_components; ++i) {
        const std::int64_t k = block.components[i];
        const T* const factor = model.factor + k * model.factor_stride;
        const T* const centre = model.centres + k * P;
        const double offset = static_cast<double>(model.offset[k]);
        T* const out = block.log_joint + i * candidate_rows;
        const std::int64_t last = block.first[i + 1];
        for (std::int64_t p = block.first[i]; p < last; p += R) {
            const int n = last - p < R ? static_cast<int>(last - p) : R;
            for (int r = 0; r < n; ++r) {
                const T* x = block.rows + block.row[p + r] * P;
                for (std::int64_t d = 0; d < D; d += V::width) {
                    V z = V::load(x + d) - V::load(centre + d);
                    if constexpr (low) z = z - V::load(model.centres_low + k * P + d);
                    z.store(block.centred + r * P + d);
                }
            }
            V squares[R];
            for (int r = 0; r < R; ++r) squares[r] = V::zero();
            // Rows beyond the last are of earlier pairs, whose sums nobody reads.
            if (n > half) {
                square_rows<T, R>(block.centred, P, factor, D, squares);
            } else if (n > 1) {
                square_rows<T, half>(block.centred, P, factor, D, squares);
            } else {
                square_rows<T, 1>(block.centred, P, factor, D, squares);
            }
            double sums[R];
            for (int r = 0; r < R; ++r) sums[r] = 0;
            V::add_sums(squares, sums);
            for (int r = 0; r < n; ++r)
                out[block.row[p + r]] = static_cast<T>(offset - 0.5 * sums[r]);
        }
    }
}

template <class T>
void pair_log_joints(const CandidateModel<T>& model, const PairBlock<T>& block) {
    using V = Lanes<T>;
    const V none = V::set(static_cast<T>(-runtime::infinity));
    for (std::int64_t i = 0; i < block.n_components * candidate_rows; i += V::width)
        none.store(block.log_joint + i);
    const bool low = model.centres_low != nullptr;
    if (model.form == Form::linear) return lane_pairs<T, LinearTerms<T>>(model, block);
    if (model.form == Form::diag)
        return low ? lane_pairs<T, DiagonalTerms<T, true>>(model, block)
                   : lane_pairs<T, DiagonalTerms<T, false>>(model, block);
    return low ? factor_pairs<T, true>(model, block) : factor_pairs<T, false>(model, block);
}
