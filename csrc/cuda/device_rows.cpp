#include "cuda/device_rows.h"

namespace vbfast::cuda {

namespace {

constexpr std::int64_t rows_at_a_time = 1 << 16;

template <class T>
class OwnedRows final : public DeviceRows {
  public:
    explicit OwnedRows(const HostRows& rows) {
        n_rows = rows.n_rows;
        n_features = row_stride = rows.n_features;
        single = sizeof(T) == 4;
        T* memory = memory_.reserve<T>(n_rows * n_features);
        Stream stream;
        std::vector<T> packed;
        HostRows part = rows;
        for (std::int64_t first = 0; first < n_rows; first += rows_at_a_time) {
            part.rows = static_cast<const char*>(rows.rows) + first * rows.row_stride;
            part.n_rows = n_rows - first < rows_at_a_time ? n_rows - first : rows_at_a_time;
            copy_rows(part, memory + first * n_features, packed, stream);
        }
        Buffer scratch;
        found = look_at(memory, n_features, n_rows, static_cast<int>(n_features),
                        scratch.reserve<unsigned long long>(2), stream);
    }
    const void* data() const override { return memory_.as<T>(); }

  private:
    Buffer memory_;
};

template <class T>
class BorrowedRows final : public DeviceRows {
  public:
    BorrowedRows(const T* rows, std::int64_t n, std::int64_t D, std::int64_t stride,
                 std::shared_ptr<void> owner, cudaStream_t stream)
        : rows_(rows), owner_(std::move(owner)) {
        n_rows = n;
        n_features = D;
        row_stride = stride;
        single = sizeof(T) == 4;
        Buffer scratch;
        found = look_at(rows, stride, n, static_cast<int>(D),
                        scratch.reserve<unsigned long long>(2), stream);
    }
    const void* data() const override { return rows_; }

  private:
    const T* rows_;
    std::shared_ptr<void> owner_;
};

}  // namespace

void DeviceRows::read(std::int64_t first, std::int64_t count, void* to) const {
    const std::size_t size = single ? sizeof(float) : sizeof(double);
    const std::size_t width = static_cast<std::size_t>(n_features) * size;
    const std::size_t pitch = static_cast<std::size_t>(row_stride) * size;
    if (count == 0) return;
    const Stream stream;
    check(cudaMemcpy2DAsync(
              to, width, static_cast<const char*>(data()) + static_cast<std::size_t>(first) * pitch,
              pitch, width, static_cast<std::size_t>(count), cudaMemcpyDeviceToHost, stream),
          "a copy of rows from the device");
    stream.wait();
}

void DeviceRows::take(const std::int64_t* indices, std::int64_t count, void* to) const {
    const std::size_t size = single ? sizeof(float) : sizeof(double);
    const std::size_t width = static_cast<std::size_t>(n_features) * size;
    const Stream stream;
    for (std::int64_t i = 0; i < count; ++i)
        check(cudaMemcpyAsync(static_cast<char*>(to) + static_cast<std::size_t>(i) * width,
                              static_cast<const char*>(data()) +
                                  static_cast<std::size_t>(indices[i] * row_stride) * size,
                              width, cudaMemcpyDeviceToHost, stream),
              "a copy of rows from the device");
    stream.wait();
}

template <class T>
void copy_rows(const HostRows& from, T* to, std::vector<T>& packed, cudaStream_t stream) {
    const char* rows = static_cast<const char*>(from.rows);
    const std::int64_t D = from.n_features, size = sizeof(T);
    const std::size_t width = static_cast<std::size_t>(D * size);
    if (from.n_rows == 0) return;
    const void* values = rows;
    if ((D > 1 && from.feature_stride != size) || from.row_stride != D * size) {
        packed.resize(static_cast<std::size_t>(from.n_rows * D));
        for (std::int64_t n = 0; n < from.n_rows; ++n)
            for (std::int64_t d = 0; d < D; ++d)
                packed[static_cast<std::size_t>(n * D + d)] = *reinterpret_cast<const T*>(
                    rows + n * from.row_stride + d * from.feature_stride);
        values = packed.data();
    }
    check(cudaMemcpyAsync(to, values, static_cast<std::size_t>(from.n_rows) * width,
                          cudaMemcpyHostToDevice, stream),
          "a copy of rows to the device");
    // Of memory that is not pinned, the host's is free again: CUDA has it in a buffer of its own.
}

template <class T>
std::unique_ptr<DeviceRows> make_device_rows(const HostRows& rows) {
    return std::make_unique<OwnedRows<T>>(rows);
}

template <class T>
std::unique_ptr<DeviceRows> borrow_device_rows(const T* rows, std::int64_t n_rows,
                                               std::int64_t n_features, std::int64_t row_stride,
                                               std::shared_ptr<void> owner, cudaStream_t stream) {
    return std::make_unique<BorrowedRows<T>>(rows, n_rows, n_features, row_stride, std::move(owner),
                                             stream);
}

template void copy_rows(const HostRows&, float*, std::vector<float>&, cudaStream_t);
template void copy_rows(const HostRows&, double*, std::vector<double>&, cudaStream_t);
template std::unique_ptr<DeviceRows> make_device_rows<float>(const HostRows&);
template std::unique_ptr<DeviceRows> make_device_rows<double>(const HostRows&);
template std::unique_ptr<DeviceRows> borrow_device_rows(const float*, std::int64_t, std::int64_t,
                                                        std::int64_t, std::shared_ptr<void>,
                                                        cudaStream_t);
template std::unique_ptr<DeviceRows> borrow_device_rows(const double*, std::int64_t, std::int64_t,
                                                        std::int64_t, std::shared_ptr<void>,
                                                        cudaStream_t);

}  // namespace vbfast::cuda
