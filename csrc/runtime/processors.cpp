#include "runtime/processors.h"

#if defined(__linux__)
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <memory>
#include <sstream>
#include <vector>

namespace vbfast::runtime {

namespace {

constexpr double no_limit = std::numeric_limits<double>::infinity();

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

bool has(const std::vector<std::string>& parts, const std::string& part) {
    return std::find(parts.begin(), parts.end(), part) != parts.end();
}

// Where a hierarchy of control groups is mounted: the group `root` of it at `point`.
struct Mount {
    bool unified;  // version 2
    std::string root, point;
};

// Paths of mountinfo have some characters as a backslash and three octal digits.
std::string unescape(const std::string& text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 3 < text.size()) {
            result += static_cast<char>(std::strtol(text.substr(i + 1, 3).c_str(), nullptr, 8));
            i += 3;
        } else {
            result += text[i];
        }
    }
    return result;
}

// The mounts whose groups may limit processor time. A line of mountinfo, see proc(5), has the root
// and the point as its fourth and fifth fields, any number of fields from the seventh to a dash,
// and then the file system, its source and its options.
std::vector<Mount> mounts_of_groups(const std::string& root) {
    std::vector<Mount> mounts;
    std::ifstream file(root + "/proc/self/mountinfo");
    for (std::string line; std::getline(file, line);) {
        const std::vector<std::string> fields = split(line, ' ');
        const auto dash = std::find(fields.begin(), fields.end(), "-");
        if (fields.size() < 6 || fields.end() - dash < 4) continue;
        const bool unified = dash[1] == "cgroup2";
        if (unified || (dash[1] == "cgroup" && has(split(dash[3], ','), "cpu")))
            mounts.push_back({unified, unescape(fields[3]), unescape(fields[4])});
    }
    return mounts;
}

// The path of this process's group in one of the hierarchies: lines of /proc/self/cgroup are
// number:controllers:path, without controllers in version 2.
std::string group_of(bool unified, const std::string& root) {
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
        const std::size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = line.substr(first + 1, second - first - 1);
        if (unified ? controllers.empty() : has(split(controllers, ','), "cpu"))
            return line.substr(second + 1);
    }
    return "/";
}

double limit_of(const std::string& directory, bool unified) {
    double period = 0;
    if (unified) {
        std::string quota;
        std::ifstream file(directory + "/cpu.max");
        if (!(file >> quota >> period) || quota == "max" || period <= 0) return no_limit;
        return std::strtod(quota.c_str(), nullptr) / period;
    }
    double quota = 0;
    std::ifstream quota_file(directory + "/cpu.cfs_quota_us");
    std::ifstream period_file(directory + "/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period) || quota <= 0 || period <= 0)
        return no_limit;
    return quota / period;
}

// The least limit from a group up to the one that is mounted. A group that is not below that one,
// as one sees it from a namespace of other groups, leaves the mounted one alone.
double limit_along(const Mount& mount, const std::string& group, const std::string& root) {
    const std::string above = mount.root == "/" ? "" : mount.root;
    std::string path;
    if (group.compare(0, above.size(), above) == 0) path = group.substr(above.size());
    if (path.empty() || path[0] != '/' || path.find("/..") != std::string::npos) path.clear();
    double least = no_limit;
    for (;;) {
        least = std::min(least, limit_of(root + mount.point + path, mount.unified));
        const std::size_t last = path.rfind('/');
        if (last == std::string::npos) return least;
        path.resize(last);
    }
}

struct FreeSet {
    void operator()(cpu_set_t* set) const { CPU_FREE(set); }
};

}  // namespace

int processors_of_affinity(int (*read)(pid_t, std::size_t, cpu_set_t*)) {
    constexpr int most = 1 << 22;
    for (int n = 1024; n <= most; n *= 2) {
        const std::unique_ptr<cpu_set_t, FreeSet> set(CPU_ALLOC(static_cast<std::size_t>(n)));
        const std::size_t size = CPU_ALLOC_SIZE(n);
        if (set == nullptr) return 0;
        if (read(0, size, set.get()) == 0) return CPU_COUNT_S(size, set.get());
        if (errno != EINVAL) return 0;  // else the system has more processors than that
    }
    return 0;
}

int control_group_limit(const std::string& root) {
    double least = no_limit;
    for (const Mount& mount : mounts_of_groups(root))
        least = std::min(least, limit_along(mount, group_of(mount.unified, root), root));
    constexpr double most = 1 << 22;
    return least < most ? static_cast<int>(std::ceil(least)) : 0;
}

}  // namespace vbfast::runtime
#endif
