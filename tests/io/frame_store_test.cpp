#include "io/frame_store.hpp"

#include "io/media.hpp"

#include <vector>

namespace weft::io {

using namespace test;

TEST(FrameStore, GivesBackWhatWasPutIn) {
    const Folder folder;
    FrameStore store{folder.path(), 13, 7};
    for (std::uint32_t i = 0; i < 5; ++i) store.append(noise(13, 7, i));
    EXPECT_EQ(store.size(), 5);
    EXPECT_TRUE(fs::is_empty(folder.path())) << "the scratch file has a name";
    std::vector<std::uint8_t> rgb(13 * 7 * 3);
    for (const std::uint32_t i : {4U, 0U, 2U, 2U}) {
        store.read(i, rgb);
        EXPECT_EQ(rgb, noise(13, 7, i).rgb);
    }
    const FrameStore moved = std::move(store);
    moved.read(3, rgb);
    EXPECT_EQ(rgb, noise(13, 7, 3).rgb);
}

TEST(FrameStore, DigestKnowsContentOrderAndShape) {
    const Folder folder;
    const auto digest = [&](int width, int height, std::vector<std::uint32_t> seeds) {
        FrameStore store{folder.path(), width, height};
        for (const auto seed : seeds) store.append(noise(width, height, seed));
        return store.digest();
    };
    const auto expected = digest(6, 4, {1, 2, 3});
    EXPECT_EQ(expected.size(), 32U);
    EXPECT_EQ(digest(6, 4, {1, 2, 3}), expected);
    EXPECT_NE(digest(6, 4, {1, 3, 2}), expected);
    EXPECT_NE(digest(6, 4, {1, 2}), expected);
    EXPECT_NE(digest(4, 6, {1, 2, 3}), expected);
    EXPECT_NE(digest(6, 4, {}), digest(4, 6, {}));
}

TEST(FrameStore, AFrameThatIsNotKeptCountsAndTakesNoRoom) {
    const Folder folder;
    FrameStore whole{folder.path(), 64, 64};
    FrameStore part{folder.path(), 64, 64};
    for (std::uint32_t frame = 0; frame < 100; ++frame) {
        whole.append(noise(64, 64, frame));
        part.append(noise(64, 64, frame), frame == 70 ? FrameStore::Keep::yes : FrameStore::Keep::no);
    }
    EXPECT_EQ(part.size(), 100);
    EXPECT_EQ(part.digest(), whole.digest());
    std::vector<std::uint8_t> rgb(64 * 64 * 3);
    part.read(70, rgb);
    EXPECT_EQ(rgb, noise(64, 64, 70).rgb);
    EXPECT_LT(part.room_bytes(), 64 * 1024);
    EXPECT_GE(whole.room_bytes(), 100 * 64 * 64 * 3);
}

TEST(FrameStore, MisuseIsABug) {
    const Folder folder;
    FrameStore store{folder.path(), 4, 4};
    store.append(noise(4, 4, 1));
    std::vector<std::uint8_t> rgb(48);
    error_of(ExitCode::failure, [&] { store.append(noise(4, 5, 1)); });
    error_of(ExitCode::failure, [&] { store.read(1, rgb); });
    error_of(ExitCode::failure, [&] { store.read(-1, rgb); });
    error_of(ExitCode::failure, [&] { store.read(0, std::span{rgb}.first(47)); });
}

TEST(FrameStore, AMissingFolderAndAFullDiskAreNamed) {
    EXPECT_NE(error_of(ExitCode::failure, [] { (void)FrameStore{"/nowhere/at/all", 4, 4}; }).find("/nowhere/at/all"), std::string::npos);
    const Mount small{0, "size=64k"};
    if (!small) return;
    FrameStore store{small.path(), 64, 64};  // 12 KiB a frame
    const auto text = error_of(ExitCode::failure, [&] {
        for (std::uint32_t i = 0; i < 10; ++i) store.append(noise(64, 64, i));
    });
    EXPECT_NE(text.find("No space left on device"), std::string::npos) << text;
    EXPECT_EQ(store.size(), 5);
    std::vector<std::uint8_t> rgb(64 * 64 * 3);
    store.read(4, rgb);
    EXPECT_EQ(rgb, noise(64, 64, 4).rgb) << "what was stored before stays readable";
}

}  // namespace weft::io
