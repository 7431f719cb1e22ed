// weft_judge FILM CASE: how near a film comes to a drawn truth, as one JSON object on standard output.
// Exit codes: 0, 1 where a limit is broken (standard error says which), 2 where film or case cannot be judged.
#include "base/error.hpp"
#include "quality/case.hpp"

#include <CLI/CLI.hpp>

#include <cstdio>

namespace weft::quality {

namespace {
int run(int argc, char** argv) {
    CLI::App root{"How near a film comes to a drawn truth, as one JSON object on standard output", "weft_judge"};
    std::string film;
    std::string folder;
    std::int64_t frames = 0;
    bool one_line = false;
    Limits limits;
    root.add_option("FILM", film, "a video, or a folder of pictures")->required();
    root.add_option("CASE", folder, "a folder with truth/, parts/, parts.json and background.png")->required();
    root.add_option("--frames", frames, "judge so many frames of the beginning; without it all, which must be equally many")->check(CLI::PositiveNumber);
    root.add_flag("--json", one_line, "the JSON object in one line");
    root.add_option("--min-overlap", limits.min_overlap, "least mean overlap of the figure, 0 to 1");
    root.add_option("--max-colour", limits.max_colour, "largest mean error of the figure's colours, 0 to 1");
    root.add_option("--max-flicker", limits.max_flicker, "largest mean change of the still background, 0 to 1");
    std::vector<std::int64_t> slices;
    root.add_option("--slices", slices, "LENGTH,OVERLAP that the film was made with; adds the seam figure")->delimiter(',')->expected(2);
    root.add_option("--max-seam", limits.max_seam, "largest seam figure")->needs("--slices");
    try {
        root.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return root.exit(error) == 0 ? 0 : static_cast<int>(ExitCode::user_mistake);
    }
    if (!slices.empty() && (slices[0] < 2 || slices[1] < 1 || slices[1] >= slices[0])) refuse("--slices: must be LENGTH,OVERLAP with 1 <= OVERLAP < LENGTH");
    const auto verdict = judge(film, folder, frames);
    const auto seam_figure = slices.empty() ? std::optional<double>{} : seam(verdict, slices[0], slices[1]);
    std::printf("%s\n", to_json(verdict, one_line ? Layout::one_line : Layout::indented, seam_figure).c_str());
    const auto texts = broken(verdict, limits, seam_figure.value_or(kUnknown));
    for (const auto& text : texts) std::fprintf(stderr, "weft_judge: %s: %s\n", film.c_str(), text.c_str());
    return static_cast<int>(texts.empty() ? ExitCode::done : ExitCode::failure);
}
}  // namespace

}  // namespace weft::quality

int main(int argc, char** argv) {
    try {
        return weft::quality::run(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "weft_judge: %s\n", weft::text_of(error).c_str());
        return static_cast<int>(weft::exit_code_of(error));
    }
}
