// The functions of vbfast.h over one slice. A short one goes straight to the kernels of a row, with
// its memory on the stack. A long one, or one that its sums do not settle, goes to the driver as a
// matrix of one row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "capi/rows.h"
#include "runtime/numbers.h"
#include "tuning.h"

namespace vbfast::capi {

constexpr std::int64_t longest_copy = 256;  // elements of a strided slice that are copied
constexpr std::int64_t slice_plane = 16;    // as kernels/arrays/table.h asks

inline bool is_short(std::int64_t n, bool contiguous) {
    return n > 0 && n <= (contiguous ? tuning::row_chunk : longest_copy);
}

// The elements of a short slice side by side: where they lie, or copies.
template <class T>
class Packed {
  public:
    Packed(const T* a, std::int64_t n, std::int64_t stride) : data_(stride == 1 ? a : copies_) {
        if (stride != 1 && a != nullptr)
            for (std::int64_t i = 0; i < n; ++i) copies_[i] = a[i * stride];
    }
    Packed(const Packed&) = delete;
    Packed& operator=(const Packed&) = delete;
    operator const T*() const { return data_; }

  private:
    const T* data_;
    T copies_[longest_copy];
};

// The same for an output, which the destructor writes.
template <class T>
class PackedOutput {
  public:
    PackedOutput(T* out, std::int64_t n, std::int64_t stride)
        : data_(stride == 1 ? out : copies_), out_(out), n_(n), stride_(stride) {}
    ~PackedOutput() {
        if (stride_ != 1)
            for (std::int64_t i = 0; i < n_; ++i) out_[i * stride_] = copies_[i];
    }
    PackedOutput(const PackedOutput&) = delete;
    PackedOutput& operator=(const PackedOutput&) = delete;
    operator T*() { return data_; }

  private:
    T* data_;
    T* out_;
    std::int64_t n_, stride_;
    T copies_[longest_copy];
};

// Sums and results of one short slice.
template <class T>
class SliceSums {
  public:
    explicit SliceSums(arrays::Reduction reduction)
        : reducer_(arrays::kernels<T>().reducers[static_cast<int>(reduction)]) {
        // Kernels write the first lane and finish all of a vector.
        std::fill_n(state, (reducer_.references + reducer_.sums) * slice_plane, 0.0);
    }

    bool reduce(const T* x, const T* y, std::int64_t n) {
        reducer_.row(x, y, n, 0, state, slice_plane);
        return finish();
    }

    bool map(arrays::Mapping mapping, const T* x, const T* y, std::int64_t n, T* out0, T* out1) {
        arrays::kernels<T>().mappers[static_cast<int>(mapping)].fused(x, y, n, 0, 1, out0, out1,
                                                                      false, state, slice_plane);
        return finish();
    }

    double operator[](arrays::Result result) const { return results_[result * slice_plane]; }
    vbfast_elbo_terms terms() const {
        return {(*this)[arrays::result_elbo], (*this)[arrays::result_expected],
                (*this)[arrays::result_entropy], (*this)[arrays::result_log_evidence],
                (*this)[arrays::result_kl]};
    }

    double state[arrays::max_states * slice_plane];

  private:
    // Whether the results hold: references are finite and probabilities those of a distribution.
    bool finish() {
        for (int k = 0; k < reducer_.references; ++k) {
            const double reference = state[k * slice_plane];
            if (!std::isfinite(reference)) return false;
            if (reducer_.logits[k]) continue;
            const double sum = state[(reducer_.references + (k == 0 ? 0 : 3)) * slice_plane];
            if (reference < 0 || !(std::abs(sum - 1) <= arrays::sum_tolerance(sizeof(T) == 8)))
                return false;
        }
        // Of q log p: where it is not finite, it may have overflowed.
        if (reducer_.references > 1 && reducer_.logits[1] && !std::isfinite(state[4 * slice_plane]))
            return false;
        reducer_.finish(state, slice_plane, 1, results_);
        return true;
    }

    const arrays::Reducer<T>& reducer_;
    double results_[arrays::result_count * slice_plane];
};

template <class T>
T logsumexp(std::int64_t n, const T* a, std::int64_t stride) noexcept {
    if (is_short(n, stride == 1)) {
        SliceSums<T> sums(arrays::Reduction::sum_exp);
        if (sums.reduce(Packed<T>(a, n, stride), nullptr, n))
            return static_cast<T>(sums[arrays::result_log_evidence]);
    }
    T value;
    return logsumexp_rows<T>(1, n, a, 0, stride, &value, 1) == 0
               ? value
               : static_cast<T>(runtime::not_a_number);
}

template <class T>
std::int64_t softmax(std::int64_t n, const T* a, std::int64_t stride, T* out,
                     std::int64_t out_stride) noexcept {
    if (!is_short(n, stride == 1 && out_stride == 1))
        return map_rows<T, arrays::Mapping::softmax>(1, n, a, 0, stride, out, 0, out_stride, 1);
    SliceSums<T> sums(arrays::reduction_of(arrays::Mapping::softmax));
    // Where the sums do not hold, NaN is the answer already.
    sums.map(arrays::Mapping::softmax, Packed<T>(a, n, stride), nullptr, n,
             PackedOutput<T>(out, n, out_stride), nullptr);
    return 0;
}

template <class T>
std::int64_t log_softmax(std::int64_t n, const T* a, std::int64_t stride, T* out,
                         std::int64_t out_stride) noexcept {
    if (is_short(n, stride == 1 && out_stride == 1)) {
        SliceSums<T> sums(arrays::Reduction::sum_exp);
        const Packed<T> elements(a, n, stride);
        if (sums.reduce(elements, nullptr, n)) {
            const T parameters[arrays::max_parameters] = {
                static_cast<T>(sums.state[0]), static_cast<T>(sums[arrays::result_log_sum])};
            arrays::kernels<T>().mappers[static_cast<int>(arrays::Mapping::log_softmax)].row(
                elements, nullptr, n, parameters, PackedOutput<T>(out, n, out_stride), nullptr,
                false);
            return 0;
        }
    }
    return map_rows<T, arrays::Mapping::log_softmax>(1, n, a, 0, stride, out, 0, out_stride, 1);
}

template <class T>
T entropy(std::int64_t n, int kind, const T* a, std::int64_t stride) noexcept {
    if (is_short(n, stride == 1)) {
        SliceSums<T> sums(entropy_of(kind));
        if (sums.reduce(Packed<T>(a, n, stride), nullptr, n))
            return static_cast<T>(sums[arrays::result_entropy]);
    }
    T value;
    return entropy_rows<T>(1, n, kind, a, 0, stride, &value, 1) == 0
               ? value
               : static_cast<T>(runtime::not_a_number);
}

template <class T>
T kl_divergence(std::int64_t n, int q_kind, const T* q, std::int64_t q_stride, int p_kind,
                const T* p, std::int64_t p_stride) noexcept {
    if (is_short(n, q_stride == 1 && p_stride == 1)) {
        SliceSums<T> sums(pair_of(q_kind, p_kind));
        if (sums.reduce(Packed<T>(q, n, q_stride), Packed<T>(p, n, p_stride), n))
            return static_cast<T>(sums[arrays::result_kl]);
    }
    T value;
    const std::int64_t info =
        kl_divergence_rows<T>(1, n, q_kind, q, 0, q_stride, p_kind, p, 0, p_stride, &value, 1);
    return info == 0 ? value : static_cast<T>(runtime::not_a_number);
}

// Terms of a q that is no distribution.
inline std::int64_t with_terms(std::int64_t info, vbfast_elbo_terms* terms) {
    constexpr double nan = runtime::not_a_number;
    if (info != 0) *terms = {nan, nan, nan, nan, nan};
    return info;
}

template <class T>
std::int64_t elbo(std::int64_t n, const T* log_joint, std::int64_t stride, int q_kind, const T* q,
                  std::int64_t q_stride, vbfast_elbo_terms* terms) noexcept {
    const bool posterior = q == nullptr;
    if (is_short(n, stride == 1 && (posterior || q_stride == 1))) {
        SliceSums<T> sums(posterior ? arrays::Reduction::logits_entropy
                                    : pair_of(q_kind, VBFAST_LOGITS));
        const Packed<T> joint(log_joint, n, stride), of_q(q, n, posterior ? 1 : q_stride);
        if (posterior ? sums.reduce(joint, nullptr, n) : sums.reduce(of_q, joint, n)) {
            *terms = sums.terms();
            return 0;
        }
    }
    return with_terms(elbo_rows<T>(1, n, log_joint, 0, stride, q_kind, q, 0, q_stride, nullptr,
                                   terms, nullptr, 1),
                      terms);
}

template <class T>
std::int64_t elbo_and_grad(std::int64_t n, const T* log_joint, std::int64_t stride,
                           const T* q_logits, std::int64_t q_stride, vbfast_elbo_terms* terms,
                           T* grad_q_logits, std::int64_t grad_q_stride, T* grad_log_joint,
                           std::int64_t grad_stride) noexcept {
    const bool posterior = q_logits == nullptr;
    if (is_short(n, stride == 1 && (posterior || q_stride == 1) && grad_q_stride == 1 &&
                        grad_stride == 1)) {
        SliceSums<T> sums(posterior ? arrays::Reduction::logits_entropy
                                    : arrays::Reduction::logits_logits);
        const Packed<T> joint(log_joint, n, stride), q(q_logits, n, posterior ? 1 : q_stride);
        PackedOutput<T> to_q(grad_q_logits, n, grad_q_stride);
        PackedOutput<T> to_joint(grad_log_joint, n, grad_stride);
        if (posterior
                ? sums.map(arrays::Mapping::posterior_gradient, joint, nullptr, n, to_q, to_joint)
                : sums.map(arrays::Mapping::gradient, q, joint, n, to_q, to_joint)) {
            *terms = sums.terms();
            return 0;
        }
    }
    return with_terms(elbo_and_grad_rows<T>(1, n, log_joint, 0, stride, q_logits, 0, q_stride,
                                            nullptr, terms, nullptr, grad_q_logits, 0,
                                            grad_q_stride, grad_log_joint, 0, grad_stride, 1),
                      terms);
}

}  // namespace vbfast::capi
