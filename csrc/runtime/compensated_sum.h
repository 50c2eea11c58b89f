// A sum whose rounding does not grow with the number of its terms.
#pragma once

#include <cmath>

namespace vbfast::runtime {

// Keeps apart what each addition rounds away (Neumaier 1974).
class CompensatedSum {
  public:
    void add(double term) {
        const double sum = total_ + term;
        const bool larger = std::abs(total_) >= std::abs(term);
        lost_ += larger ? (total_ - sum) + term : (term - sum) + total_;
        total_ = sum;
    }
    double value() const { return std::isfinite(total_) ? total_ + lost_ : total_; }

  private:
    double total_ = 0, lost_ = 0;
};

}  // namespace vbfast::runtime
