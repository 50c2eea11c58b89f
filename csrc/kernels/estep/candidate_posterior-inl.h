// The rows of a search, and what it ends with: a softmax over the components that rows keep.

// Rows lie anywhere: so many are asked for ahead of their turn.
constexpr int rows_ahead = 6;

// Loads rows, with zeros up to padded_features. Returns the least index of a row that is not
// finite, or -1.
template <class T>
std::int64_t load_candidate_rows(const CandidateModel<T>& model, const RowsAt& at,
                                 const std::int32_t* index, std::int64_t n_rows, T* out) {
    using V = Lanes<T>;
    constexpr std::int64_t W = V::width;
    const std::int64_t D = model.n_features, P = model.padded_features;
    const bool packed = at.feature_stride == static_cast<std::int64_t>(sizeof(T)) &&
                        reinterpret_cast<std::uintptr_t>(at.rows) % sizeof(T) == 0 &&
                        at.row_stride % static_cast<std::int64_t>(sizeof(T)) == 0;
    std::int64_t bad = -1;
    for (std::int64_t n = 0; n < n_rows; ++n, out += P) {
        const char* from = at.rows + index[n] * at.row_stride;
        if (n + rows_ahead < n_rows) {
            const char* next = at.rows + index[n + rows_ahead] * at.row_stride;
            for (std::int64_t b = 0; b < D * at.feature_stride; b += 64) VBFAST_PREFETCH(next + b);
        }
        std::int64_t d = 0;
        if (packed) {
            const T* x = reinterpret_cast<const T*>(from);
            for (; d + W <= D; d += W) V::load(x + d).store(out + d);
            for (; d < D; ++d) out[d] = x[d];
        } else {
            for (; d < D; ++d) out[d] = load_unaligned<T>(from + d * at.feature_stride);
        }
        for (; d < P; ++d) out[d] = T(0);
        V check = V::zero();
        for (d = 0; d < P; d += W) {
            check = fma(V::load(out + d), V::zero(), check);  // zero, or NaN
        }
        constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
        if (V::bits(equal(check, V::zero())) != all && (bad < 0 || index[n] < bad)) bad = index[n];
    }
    return bad;
}

// Inserts a vector of values, with their places, into sorted ones. Of equals the earlier stays.
template <class T, int n>
VBFAST_INLINED inline void insert(Lanes<T> value, Lanes<T> place, Lanes<T>* values,
                                  Lanes<T>* places) {
    using V = Lanes<T>;
    for (int c = n - 1; c >= 0; --c) {
        const auto here = less(values[c], value);
        V before = V::zero(), place_before = V::zero();
        if (c > 0) {
            const auto further = less(values[c - 1], value);
            before = V::select(further, values[c - 1], value);
            place_before = V::select(further, places[c - 1], place);
        } else {
            before = value;
            place_before = place;
        }
        values[c] = V::select(here, before, values[c]);
        places[c] = V::select(here, place_before, places[c]);
    }
}

// The n best of a vector of rows, from row r on.
template <class T, int n>
void best_of_rows(const PairBlock<T>& block, std::int64_t r, const BestPairs<T>& best) {
    using V = Lanes<T>;
    V values[n], places[n];
    for (int c = 0; c < n; ++c) {
        values[c] = V::set(static_cast<T>(-runtime::infinity));
        places[c] = V::set(T(-1));
    }
    const V one = V::set(T(1));
    V place = V::zero();
    for (std::int64_t i = 0; i < block.n_components; ++i) {
        insert<T, n>(V::load(block.log_joint + i * candidate_rows + r), place, values, places);
        place = place + one;
    }
    for (int c = 0; c < n; ++c) {
        values[c].store(best.log_joint + c * candidate_rows + r);
        places[c].store(best.place + c * candidate_rows + r);
    }
}

// The same for many, in memory.
template <class T>
void best_of_row(const PairBlock<T>& block, std::int64_t r, const BestPairs<T>& best) {
    constexpr std::int64_t R = candidate_rows;
    T *values = best.log_joint + r, *places = best.place + r;
    for (std::int64_t c = 0; c < best.n_kept; ++c) {
        values[c * R] = static_cast<T>(-runtime::infinity);
        places[c * R] = T(-1);
    }
    for (std::int64_t i = 0; i < block.n_components; ++i) {
        const T value = block.log_joint[i * R + r];
        std::int64_t c = best.n_kept;
        for (; c > 0 && value > values[(c - 1) * R]; --c)
            if (c < best.n_kept) {
                values[c * R] = values[(c - 1) * R];
                places[c * R] = places[(c - 1) * R];
            }
        if (c == best.n_kept) continue;
        values[c * R] = value;
        places[c * R] = static_cast<T>(i);
    }
}

// Finds the best components of every row: those of largest log-joint, of equals the first.
template <class T>
void best_pairs(const PairBlock<T>& block, std::int64_t n_rows, const BestPairs<T>& best) {
    if (best.n_kept > 4) {
        for (std::int64_t r = 0; r < n_rows; ++r) best_of_row(block, r, best);
        return;
    }
    for (std::int64_t r = 0; r < n_rows; r += Lanes<T>::width) {
        if (best.n_kept == 1) best_of_rows<T, 1>(block, r, best);
        if (best.n_kept == 2) best_of_rows<T, 2>(block, r, best);
        if (best.n_kept == 3) best_of_rows<T, 3>(block, r, best);
        if (best.n_kept == 4) best_of_rows<T, 4>(block, r, best);
    }
}

// The sum over its rows of how far each component is below the first one, which all rows meet.
// Error: sums of up to candidate_rows / width differences are in T, and float64 over lanes.
template <class T>
void sum_differences(const PairBlock<T>& block, std::int64_t n_rows, double* sums) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    const V none = V::set(static_cast<T>(-runtime::infinity));
    V waiting[V::sums];
    for (std::int64_t i = 0; i < block.n_components; i += V::sums) {
        const std::int64_t n = block.n_components - i < V::sums ? block.n_components - i : V::sums;
        for (int j = 0; j < V::sums; ++j) waiting[j] = V::zero();
        for (int j = 0; j < n; ++j)
            for (std::int64_t r = 0; r < n_rows; r += W) {
                const V value = V::load(block.log_joint + (i + j) * candidate_rows + r);
                const V difference = V::load(block.log_joint + r) - value;
                waiting[j] = waiting[j] + V::select(less(none, value), difference, V::zero());
            }
        double totals[V::sums];
        for (double& total : totals) total = 0;
        V::add_sums(waiting, totals);
        for (int j = 0; j < n; ++j) sums[i + j] = totals[j];
    }
}

// Turns the log-joints of kept components into responsibilities, in place. `kept` is (n_kept,
// candidate_rows), the largest of a row first; log_evidence (candidate_rows,). A row of nothing but
// -inf has no responsibilities.
template <class T>
void kept_posterior(std::int64_t n_kept, std::int64_t n_rows, T* kept, T* log_evidence) {
    using V = Lanes<T>;
    constexpr int W = V::width;
    for (std::int64_t n = 0; n < n_rows; n += W) {
        const V largest = V::load(kept + n);
        const auto finite = equal(largest * V::zero(), V::zero());
        const auto impossible = less(largest, V::zero());
        const V zero = V::zero(), one = V::set(T(1));
        V sum = zero;
        for (std::int64_t c = 0; c < n_kept; ++c) {
            T* const at = kept + c * candidate_rows + n;
            const V value = V::load(at);
            V difference = value - largest, e;
            exp_nonpositive<T, true, 1>(&difference, &e);
            // Components at +inf share a row; one at -inf has none.
            const V shared = V::select(equal(value, largest), one, zero);
            e = V::select(finite, e, V::select(impossible, zero, shared));
            e.store(at);
            sum = sum + e;
        }
        const auto some = less(zero, sum);
        const V total = V::select(some, sum, one), inverse = one / total;
        for (std::int64_t c = 0; c < n_kept; ++c) {
            T* const at = kept + c * candidate_rows + n;
            (V::load(at) * inverse).store(at);
        }
        V::select(finite, largest + log_positive(total), largest).store(log_evidence + n);
    }
}
