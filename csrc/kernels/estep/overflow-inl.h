// Responsibilities of rows whose every log-joint overflows to -inf. They are the limit that a row
// has as it moves out along its direction: all mass on the component whose log-joint falls slowest.
//
// In: tile.rows, the rows as they came, and the model. Scratch: tile.panel.
// Out: tile.joint of such a row, its limit; tile.row_max stays -inf.
//
// Error: distances are compared in float64 and scaled by powers of two. Differences x - m and their
// products with a factor are kept as a sum of two numbers, since the means of components with the
// same factor are lost in the larger one of a row far away: |a + b|^2 is compared by |a|^2 first,
// and by a b where that is equal. Components that are equal in both share the row as their offsets
// say. Those of the linear form are compared by x theta, see linear_overflow-inl.h.
//
// One row and one component after the other: such rows are few.

// visit(i, j, p) for the entries of an upper-triangular factor, see factor_forms-inl.h.
template <class T, class Visit>
void visit_factor(const T* factor, std::int64_t D, Visit visit) {
    constexpr std::int64_t J = Blocking::factor_columns;
    std::int64_t width = D % J == 0 ? J : D % J;
    for (std::int64_t j0 = 0; j0 < D; j0 += width, width = J) {
        for (std::int64_t i = 0; i < j0; ++i)
            for (std::int64_t j = j0; j < j0 + width; ++j)
                visit(i, j, static_cast<double>(*factor++));
        for (std::int64_t i = j0; i < j0 + width; ++i)
            for (std::int64_t j = i; j < j0 + width; ++j)
                visit(i, j, static_cast<double>(*factor++));
    }
}

// The squared distance of a row from a component is 2^exponent (large^2 + 2 cross + ...).
struct ScaledDistance {
    double square;
    double cross;
    int exponent;
};

inline bool closer(const ScaledDistance& a, const ScaledDistance& b) {
    if (a.exponent != b.exponent) return a.exponent < b.exponent;
    return a.square != b.square ? a.square < b.square : a.cross < b.cross;
}

inline bool equally_close(const ScaledDistance& a, const ScaledDistance& b) {
    return a.exponent == b.exponent && a.square == b.square && a.cross == b.cross;
}

template <class T>
class OverflowedRow {
  public:
    // Works in `panel`, which holds at least the 4 n_features numbers of float64 that differences
    // and products take.
    OverflowedRow(const Model<T>& model, Tile<T>& tile, std::int64_t n)
        : model_(model),
          D_(model.n_features),
          row_(tile.rows + n * tile.row_stride),
          stride_(tile.feature_stride),
          large_(reinterpret_cast<double*>(tile.panel)),
          small_(large_ + D_),
          large_product_(small_ + D_),
          small_product_(large_product_ + D_) {}

    ScaledDistance distance(std::int64_t k) {
        subtract_mean(k);
        int exponent = 2 * normalise(large_, small_);
        multiply(k);
        exponent += 2 * normalise(large_product_, small_product_);
        ScaledDistance result = {0, 0, 0};
        for (std::int64_t d = 0; d < D_; ++d) {
            result.square += large_product_[d] * large_product_[d];
            result.cross += large_product_[d] * small_product_[d];
        }
        int more;
        result.square = frexp(result.square, &more);
        result.cross = ldexp(result.cross, -more);
        result.exponent = exponent + more;
        return result;
    }

  private:
    void subtract_mean(std::int64_t k) {
        const std::int64_t P = model_.padded_features;
        for (std::int64_t d = 0; d < D_; ++d) {
            // A quarter of each: the difference of the largest numbers is none.
            const double x = 0.25 * static_cast<double>(load_unaligned<T>(row_ + d * stride_));
            double mean = static_cast<double>(model_.centres[k * P + d]);
            if (model_.all_near) mean += static_cast<double>(model_.origin[d]);
            if (model_.centres_low) mean += static_cast<double>(model_.centres_low[k * P + d]);
            mean *= 0.25;
            // The rounding of a difference (Knuth 1997, section 4.2.2, theorem B).
            const double difference = x - mean, back = x - difference;
            large_[d] = difference;
            small_[d] = (x - (difference + back)) + (back - mean);
        }
    }

    void multiply(std::int64_t k) {
        for (std::int64_t d = 0; d < D_; ++d) large_product_[d] = small_product_[d] = 0;
        const auto add = [this](std::int64_t i, std::int64_t j, double p) {
            large_product_[j] += large_[i] * p;
            small_product_[j] += small_[i] * p;
        };
        if (model_.form == Form::full || model_.form == Form::tied)
            visit_factor(model_.factor + k * model_.factor_stride, D_, add);
        else
            for (std::int64_t d = 0; d < D_; ++d)
                add(d, d,
                    model_.form == Form::diag
                        ? static_cast<double>(model_.factor[2 * (k * D_ + d)])
                        : ::sqrt(2 * static_cast<double>(model_.half_precision[k])));
    }

    // Scales both vectors by the power of two that brings the largest entry of `large` below one.
    // Returns the exponent that was taken out.
    int normalise(double* large, double* small) const {
        double largest = 0;
        for (std::int64_t d = 0; d < D_; ++d) {
            const double size = ::fabs(large[d]);
            if (size > largest) largest = size;
        }
        int exponent;
        frexp(largest, &exponent);
        for (std::int64_t d = 0; d < D_; ++d) {
            large[d] = ldexp(large[d], -exponent);
            small[d] = ldexp(small[d], -exponent);
        }
        return exponent;
    }

    const Model<T>& model_;
    const std::int64_t D_;
    const char* const row_;
    const std::int64_t stride_;
    double *large_, *small_, *large_product_, *small_product_;
};

// Replaces the log-joint of row n, all of it -inf, by its limit: the offsets of the closest
// components, by distance(k), minus the largest of these, and -inf for the others. Nothing changes
// where no component has positive weight.
template <class T, class Distance>
void settle_overflowed_row(const Model<T>& model, Tile<T>& tile, std::int64_t n,
                           Distance distance_of) {
    constexpr int G = group_rows<T>;
    const T inf = static_cast<T>(runtime::infinity);
    T* joint = tile.joint + n / G * model.joint_stride + n % G;
    ScaledDistance closest = {0, 0, 0};
    T largest = -inf;  // offset among the closest
    for (std::int64_t k = 0; k < model.n_components; ++k) {
        const T offset = model.offset[k];
        if (!(offset > -inf)) continue;
        const ScaledDistance distance = distance_of(k);
        const bool ties = largest > -inf && equally_close(distance, closest);
        if (largest > -inf && !ties && !closer(distance, closest)) continue;
        if (!ties) {
            for (std::int64_t j = 0; j < k; ++j) joint[j * G] = -inf;
            closest = distance;
            largest = offset;
        }
        joint[k * G] = offset;
        if (offset > largest) largest = offset;
    }
    if (!(largest > -inf)) return;
    for (std::int64_t k = 0; k < model.n_components; ++k) joint[k * G] -= largest;
}

// The same for the rows of a group that need it.
template <class T>
[[gnu::noinline]] void settle_overflowed(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    const V lowest = V::set(-static_cast<T>(runtime::infinity));
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        unsigned overflowed = V::bits(equal(V::load(tile.row_max + g * G + v * W), lowest));
        for (; overflowed; overflowed &= overflowed - 1) {
            const std::int64_t n = g * G + v * W + VBFAST_LOWEST_BIT(overflowed);
            if (n >= tile.n_rows) continue;
            if (model.form == Form::linear) {
                settle_overflowed_row(model, tile, n, [&](std::int64_t k) {
                    const ScaledNumber product = scaled_product(model, tile, n, k);
                    return ScaledDistance{-product.mantissa, 0, product.exponent};
                });
            } else {
                OverflowedRow<T> row(model, tile, n);
                settle_overflowed_row(model, tile, n,
                                      [&](std::int64_t k) { return row.distance(k); });
            }
        }
    }
}

// Log-joints of W rows and a spherical component, whose differences are scaled before they are
// squared. Rows are as uncentred_group has them.
template <class T>
Lanes<T> scaled_log_joint(const Model<T>& model, const T* x, std::int64_t k) {
    using V = Lanes<T>;
    constexpr int G = group_rows<T>;
    const V scale = V::set(static_cast<T>(::sqrt(static_cast<double>(model.half_precision[k]))));
    V sum = V::zero();
    for (std::int64_t d = 0; d < model.n_features; ++d) {
        const V xd = V::load(x + d * G);
        const V difference = model.all_near
                                 ? xd - V::set(model.means[k * model.padded_features + d])
                                 : Centre<T>(model, k, d).subtract_from(xd);
        sum = fma(difference * scale, difference * scale, sum);
    }
    return V::set(model.offset[k]) - sum;
}

// Log-joints of a group that are NaN become -inf: a difference that overflowed met a zero of the
// factor, or another such difference. Those of spherical components, whose squared distances may
// overflow before they are scaled, are computed again in the other order.
template <class T>
[[gnu::noinline]] void settle_undefined(const Model<T>& model, Tile<T>& tile, std::int64_t g) {
    if (model.form == Form::linear) {
        settle_undefined_products(model, tile, g);
        return;
    }
    using V = Lanes<T>;
    constexpr int G = group_rows<T>, W = V::width;
    constexpr unsigned all = W == 32 ? ~0u : (1u << W) - 1;
    const T* x = uncentred_group(model, tile, g);
    const V lowest = V::set(-static_cast<T>(runtime::infinity));
    for (int v = 0; v < Blocking::row_vectors; ++v) {
        T* joint = tile.joint + g * model.joint_stride + v * W;
        V largest = lowest;
        for (std::int64_t k = 0; k < model.n_components; ++k) {
            V l = V::load(joint + k * G);
            const auto finite = less(lowest, l);
            if (model.half_precision && V::bits(finite) != all)
                l = V::select(finite, l, scaled_log_joint(model, x + v * W, k));
            const V number = V::select(equal(l, l), l, lowest);
            number.store(joint + k * G);
            largest = max(number, largest);
        }
        largest.store(tile.row_max + g * G + v * W);
    }
}
