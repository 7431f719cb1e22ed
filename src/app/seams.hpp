#pragma once
#include "base/settings.hpp"
#include "io/run_file.hpp"

#include <optional>
#include <string>

/// `weft inspect --seams`: how much more neighbouring frames differ where slices begin and end than inside them (plan/seams.hpp says how that is measured).
namespace weft::app {

/// Those that a run file was made with. Refuses (exit code 2) settings of another version.
[[nodiscard]] Settings settings_of(const io::RunFile& file);

/// Of a run's latents, and of its film where that is done and found: the run's settings name it, counted from the current folder.
void tell_seams_of_run(const io::RunFile& file, const io::RunFile::Saved& saved);

/// Of any film or folder of pictures, read frame by frame; `slices` is LENGTH,OVERLAP as the user gave it, and `family` whose. MimicMotion's films begin with
/// frame 1 of the clip: frame 0, the reference, is not shown. Refuses (exit code 2): no or wrong slices, a film that cannot be read or has less than two
/// frames.
void tell_seams_of_film(const std::string& film, const std::optional<std::string>& slices, FamilyName family);

}  // namespace weft::app
