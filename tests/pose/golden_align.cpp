#include "pose/golden_align.hpp"

#include "base/file.hpp"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <cstring>

namespace weft::pose::golden {

namespace {

std::filesystem::path folder() {
    const char* const full = std::getenv("WEFT_GOLDEN");
    return std::filesystem::path(full != nullptr ? full : WEFT_SOURCE_DIR "/tests/golden") / "musepose" / "cases" / "align";
}

std::vector<double> doubles(const io::StoredTensor& tensor) {
    ensure(tensor.type == io::ElementType::f64 && tensor.contiguous(), "the align case holds doubles");
    std::vector<double> values(static_cast<std::size_t>(tensor.num_elements()));
    std::memcpy(values.data(), tensor.storage.data() + static_cast<std::size_t>(tensor.offset) * sizeof(double), values.size() * sizeof(double));
    return values;
}

Person person_of(std::span<const double> rows) {
    std::vector<KeyPoint> points(rows.size() / 3);
    for (std::size_t i = 0; i < points.size(); ++i) points[i] = {rows[3 * i], rows[3 * i + 1], rows[3 * i + 2]};
    return from_whole_body(points);
}

}  // namespace

Scenario::Scenario(const std::string& name) : name_{name} {
    const auto file = io::WeightFile::open(folder() / "tensors.safetensors");
    for (const auto& [key, tensor] : file.tensors())
        if (key.starts_with(name + ".")) tensors_[key.substr(name.size() + 1)] = doubles(tensor);
    const auto facts = nlohmann::json::parse(read_text(folder() / "case.json"))["scenarios"][name];
    reference_size = {facts["reference_size"][0], facts["reference_size"][1]};
    video_size = {facts["video_size"][0], facts["video_size"][1]};
    reference = person_of((*this)["ref.wholebody"]);
    for (std::size_t i = 0; i < num_frames; ++i) drive.emplace_back(person_of(part("drive.wholebody", i)));
}

std::span<const double> Scenario::operator[](const std::string& name) const {
    used_.insert(name);
    return tensors_.at(name);
}

std::span<const double> Scenario::part(const std::string& name, std::size_t index, std::size_t parts) const {
    const auto all = (*this)[name];
    const auto size = all.size() / parts;
    return all.subspan(index * size, size);
}

std::set<std::string> Scenario::unused() const {
    std::set<std::string> names;
    for (const auto& [name, values] : tensors_)
        if (!used_.contains(name)) names.insert(name);
    return names;
}

std::filesystem::path Scenario::picture(const std::string& kind) const {
    return folder() / (name_ + "." + kind + "-frame2.png");
}

std::vector<double> places(std::span<const KeyPoint> points) {
    std::vector<double> flat;
    for (const auto& point : points) {
        flat.push_back(point.x);
        flat.push_back(point.y);
    }
    return flat;
}

}  // namespace weft::pose::golden
