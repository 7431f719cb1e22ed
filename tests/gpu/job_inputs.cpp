// job_inputs IMAGE POSES FRAMES FILE: picture and drawn poses as tensors, for job_check on a machine that reads no films.
#include "base/error.hpp"
#include "io/picture.hpp"
#include "io/video_reader.hpp"
#include "io/weight_file.hpp"

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <vector>

int main(int argc, char** argv) {
    using namespace weft;
    try {
        if (argc != 5) refuse("job_inputs IMAGE POSES FRAMES FILE");
        const auto reference = io::read_picture(argv[1]);
        io::VideoReader reader(argv[2]);
        std::vector<std::uint8_t> maps;
        const auto frames = std::atoll(argv[3]);
        for (std::int64_t frame = 0; frame < frames; ++frame) {
            const auto map = reader.next();
            if (!map) refuse("so many frames are not there");
            maps.insert(maps.end(), map->rgb.begin(), map->rgb.end());
        }
        const auto tensor = [](const char* name, const io::Shape& shape, const std::vector<std::uint8_t>& bytes) {
            return io::TensorToWrite{name, io::ElementType::u8, shape, std::as_bytes(std::span(bytes))};
        };
        const std::vector tensors{tensor("reference", {reference.height, reference.width, 3}, reference.rgb),
                                  tensor("maps", {frames, reader.info().height, reader.info().width, 3}, maps)};
        io::write_safetensors(argv[4], tensors);
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "job_inputs: %s\n", error.what());
        return 2;
    }
}
