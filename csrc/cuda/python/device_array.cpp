#include "cuda/python/device_array.h"

#include <cstring>
#include <set>
#include <string>

#include "cuda/python/dlpack.h"

namespace py = pybind11;

namespace vbfast::cuda {

namespace {

// Memory that the pool keeps for the next calls; more goes back to the device when it is given up.
constexpr std::uint64_t kept_bytes = std::uint64_t{1} << 30;

void prepare_pool(int device) {
    static std::set<int> prepared;  // under the GIL
    if (!prepared.insert(device).second) return;
    cudaMemPool_t pool = nullptr;
    std::uint64_t bytes = kept_bytes;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "the pool of device memory");
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &bytes),
          "the pool of device memory");
}

// Gives memory back that others have read in streams of their own.
struct Release {
    int device;
    void operator()(void* memory) const {
        try {
            const DeviceGuard guard(device);
            cudaDeviceSynchronize();
            cudaFreeAsync(memory, nullptr);
        } catch (const Error&) {  // the process ends: the driver is gone
        }
    }
};

std::vector<std::int64_t> contiguous(const std::vector<std::int64_t>& shape, std::int64_t size) {
    std::vector<std::int64_t> strides(shape.size());
    for (std::size_t d = shape.size(); d-- > 0;) {
        strides[d] = size;
        size *= shape[d];
    }
    return strides;
}

DeviceArray view_of(const DLTensor& tensor, std::shared_ptr<void> owner) {
    if (tensor.device.type != dl_cuda && tensor.device.type != dl_cuda_managed)
        throw py::type_error("a DLPack capsule is of the device type " +
                             std::to_string(tensor.device.type) + "; CUDA's are 2 and 13");
    const bool plain = tensor.dtype.code == dl_float && tensor.dtype.lanes == 1;
    if (!plain || (tensor.dtype.bits != 32 && tensor.dtype.bits != 64))
        throw py::type_error("arrays on the device must be float32 or float64; got DLPack's type " +
                             std::to_string(tensor.dtype.code) + " of " +
                             std::to_string(tensor.dtype.bits) + " bits");
    DeviceArray array;
    array.data = static_cast<char*>(tensor.data) + tensor.byte_offset;
    array.shape.assign(tensor.shape, tensor.shape + tensor.ndim);
    array.is_double = tensor.dtype.bits == 64;
    array.device = tensor.device.id;
    array.owner = std::move(owner);
    if (tensor.strides == nullptr)
        array.strides = contiguous(array.shape, array.item_bytes());
    else
        for (std::int32_t d = 0; d < tensor.ndim; ++d)
            array.strides.push_back(tensor.strides[d] * array.item_bytes());
    return array;
}

template <class Managed>
std::shared_ptr<void> take_over(const py::capsule& capsule, const char* name,
                                const char* used_name) {
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule.ptr(), name));
    if (managed == nullptr || PyCapsule_SetName(capsule.ptr(), used_name) != 0)
        throw py::error_already_set();
    return {managed, [](Managed* m) {
                if (m->deleter) m->deleter(m);
            }};
}

// What a capsule hands out, and what it points to.
template <class Managed>
struct Exported {
    DeviceArray array;
    std::vector<std::int64_t> strides;  // in elements
    Managed managed{};

    explicit Exported(const DeviceArray& from) : array(from) {
        for (const std::int64_t stride : array.strides)
            strides.push_back(stride / array.item_bytes());
        DLTensor& tensor = managed.tensor;
        tensor.data = array.data;
        tensor.device = {dl_cuda, array.device};
        tensor.ndim = static_cast<std::int32_t>(array.shape.size());
        tensor.dtype = {dl_float, static_cast<std::uint8_t>(8 * array.item_bytes()), 1};
        tensor.shape = array.shape.data();
        tensor.strides = strides.data();
        managed.context = this;
        managed.deleter = [](Managed* m) { delete static_cast<Exported*>(m->context); };
    }
};

template <class Managed>
py::capsule export_as(Exported<Managed>* exported, const char* name, PyCapsule_Destructor destroy) {
    PyObject* capsule = PyCapsule_New(&exported->managed, name, destroy);
    if (capsule == nullptr) {
        delete exported;
        throw py::error_already_set();
    }
    return py::reinterpret_steal<py::capsule>(capsule);
}

// Of a capsule that nobody has taken over.
template <class Managed>
void destroy_unused(PyObject* capsule, const char* name) {
    if (!PyCapsule_IsValid(capsule, name)) return;
    auto* managed = static_cast<Managed*>(PyCapsule_GetPointer(capsule, name));
    managed->deleter(managed);
}

}  // namespace

void CallStream::wait_for(std::uintptr_t other) const {
    const DeviceGuard guard(device_);
    cudaEvent_t event = nullptr;
    check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "an event");
    cudaError_t status = cudaEventRecord(event, reinterpret_cast<cudaStream_t>(other));
    if (status == cudaSuccess) status = cudaStreamWaitEvent(stream(), event, 0);
    cudaEventDestroy(event);
    check(status, "waiting for another stream");
}

DeviceArray DeviceArray::empty(std::vector<std::int64_t> shape, bool is_double,
                               const CallStream& stream) {
    DeviceArray array;
    array.shape = std::move(shape);
    array.is_double = is_double;
    array.device = stream.device();
    array.strides = contiguous(array.shape, array.item_bytes());
    const std::int64_t bytes = array.size() * array.item_bytes();
    prepare_pool(array.device);
    void* memory = nullptr;
    check(
        cudaMallocAsync(&memory, bytes > 0 ? static_cast<std::size_t>(bytes) : 1, stream.stream()),
        "device memory");
    array.owner = std::shared_ptr<void>(memory, Release{array.device});
    array.data = static_cast<char*>(memory);
    return array;
}

DeviceArray DeviceArray::copy_of(const py::array& array, const CallStream& stream) {
    const bool is_double = array.dtype().equal(py::dtype::of<double>());
    if (!is_double && !array.dtype().equal(py::dtype::of<float>()))
        throw py::type_error("arrays must be float32 or float64");
    if ((array.flags() & py::array::c_style) == 0)
        throw py::value_error("arrays must be C-contiguous");
    DeviceArray copy = empty({array.shape(), array.shape() + array.ndim()}, is_double, stream);
    if (array.nbytes() == 0) return copy;
    const py::gil_scoped_release release;
    check(cudaMemcpyAsync(copy.data, array.data(), static_cast<std::size_t>(array.nbytes()),
                          cudaMemcpyHostToDevice, stream.stream()),
          "a copy to the device");
    check(cudaStreamSynchronize(stream.stream()), "a copy to the device");
    return copy;
}

DeviceArray DeviceArray::from_capsule(const py::capsule& capsule) {
    if (PyCapsule_IsValid(capsule.ptr(), dl_versioned_name)) {
        using Managed = DLManagedTensorVersioned;
        const auto* managed =
            static_cast<const Managed*>(PyCapsule_GetPointer(capsule.ptr(), dl_versioned_name));
        if (managed->version.major > 1)
            throw py::buffer_error("versions 0 and 1 of DLPack are understood; got " +
                                   std::to_string(managed->version.major));
        auto owner = take_over<Managed>(capsule, dl_versioned_name, dl_used_versioned_name);
        const DLTensor& tensor = static_cast<Managed*>(owner.get())->tensor;
        return view_of(tensor, std::move(owner));
    }
    auto owner = take_over<DLManagedTensor>(capsule, dl_name, dl_used_name);
    const DLTensor& tensor = static_cast<DLManagedTensor*>(owner.get())->tensor;
    return view_of(tensor, std::move(owner));
}

DeviceArray DeviceArray::borrow(std::uintptr_t data, std::vector<std::int64_t> shape,
                                const std::optional<std::vector<std::int64_t>>& strides,
                                bool is_double, int device, py::object owner) {
    DeviceArray array;
    array.data = reinterpret_cast<char*>(data);
    array.shape = std::move(shape);
    array.is_double = is_double;
    array.device = device;
    array.strides = strides ? *strides : contiguous(array.shape, array.item_bytes());
    if (array.strides.size() != array.shape.size())
        throw py::value_error("an array needs as many strides as dimensions");
    const auto whole = [&](std::int64_t bytes) { return bytes % array.item_bytes() == 0; };
    bool aligned = whole(static_cast<std::int64_t>(data));
    for (const std::int64_t stride : array.strides) aligned = aligned && whole(stride);
    if (!aligned) throw py::value_error("arrays on the device must be aligned");
    array.owner = std::shared_ptr<void>(owner.release().ptr(), [](void* object) {
        const py::gil_scoped_acquire acquire;
        Py_DECREF(static_cast<PyObject*>(object));
    });
    return array;
}

DeviceArray DeviceArray::broadcast_to(const std::vector<std::int64_t>& wanted) const {
    DeviceArray array = *this;
    const std::size_t more = wanted.size() - shape.size();
    array.shape = wanted;
    array.strides.assign(wanted.size(), 0);
    for (std::size_t d = 0; d < shape.size(); ++d)
        if (shape[d] == wanted[more + d]) array.strides[more + d] = strides[d];
    return array;
}

py::array DeviceArray::to_host(const CallStream& stream) const {
    if (strides != contiguous(shape, item_bytes()))
        throw py::buffer_error("only a contiguous array is copied to the host");
    py::array host(is_double ? py::dtype::of<double>() : py::dtype::of<float>(),
                   std::vector<py::ssize_t>(shape.begin(), shape.end()));
    if (host.nbytes() == 0) return host;
    void* to = host.mutable_data();
    const py::gil_scoped_release release;
    check(cudaMemcpyAsync(to, data, static_cast<std::size_t>(size() * item_bytes()),
                          cudaMemcpyDeviceToHost, stream.stream()),
          "a copy from the device");
    check(cudaStreamSynchronize(stream.stream()), "a copy from the device");
    return host;
}

py::capsule DeviceArray::to_capsule(bool versioned) const {
    if (!versioned)
        return export_as(new Exported<DLManagedTensor>(*this), dl_name, [](PyObject* capsule) {
            destroy_unused<DLManagedTensor>(capsule, dl_name);
        });
    auto* exported = new Exported<DLManagedTensorVersioned>(*this);
    exported->managed.version = {1, 0};
    return export_as(exported, dl_versioned_name, [](PyObject* capsule) {
        destroy_unused<DLManagedTensorVersioned>(capsule, dl_versioned_name);
    });
}

int device_of_address(std::uintptr_t address) {
    int device = 0;
    check(cudaGetDevice(&device), "asking for the device in use");
    if (address == 0) return device;  // an array without elements
    cudaPointerAttributes found{};
    check(cudaPointerGetAttributes(&found, reinterpret_cast<const void*>(address)),
          "asking for the device of an array");
    return found.device >= 0 ? found.device : device;
}

}  // namespace vbfast::cuda
