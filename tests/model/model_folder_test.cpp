#include "model/networks/model_folder.hpp"
#include "base/file.hpp"
#include "io/weight_files.hpp"
#include "model/make_model.hpp"
#include "support/golden.hpp"
#include "support/model_files.hpp"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace weft::model::mimicmotion {
namespace {

namespace fs = std::filesystem;
using io::ElementType;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

const char* const base = "stable-video-diffusion-img2vid-xt-1-1";

/// A copy of the tiny golden model that a test then damages.
class BrokenModel {
  public:
    BrokenModel() {
        for (const auto& entry : fs::recursive_directory_iterator(golden::mimicmotion() / "model")) {
            const auto to = root() / fs::relative(entry.path(), golden::mimicmotion() / "model");
            if (entry.is_directory())
                fs::create_directories(to);
            else
                std::ofstream(to, std::ios::binary) << read_text(entry.path());  // not copy_file: the golden files may be read-only
        }
    }

    [[nodiscard]] const fs::path& root() const { return folder_.path(); }
    [[nodiscard]] fs::path in_base(const std::string& name) const { return root() / base / name; }

    /// Writes a weight file again with its tensors changed.
    void rewrite(const fs::path& path, const std::function<void(test::Tensors&)>& change) const { test::rewrite_weights(path, path, change); }

    void edit(const std::string& name, const std::string& from, const std::string& to) const {
        auto text = read_text(in_base(name));
        const auto place = text.find(from);
        ASSERT_NE(place, std::string::npos) << name << " does not hold " << from;
        text.replace(place, from.size(), to);
        std::ofstream(in_base(name)) << text;
    }

    [[nodiscard]] std::vector<std::string> mistakes() const {
        Mistakes found;
        static_cast<void>(ModelFolder::open(root(), found));
        return found.texts();
    }

  private:
    io::TemporaryFolder folder_;
};

std::span<const std::byte> zeros(std::size_t count) {
    return test::filled_with(0, count);
}

TEST(ModelFolder, TheTinyModelOpens) {
    EXPECT_THAT(BrokenModel().mistakes(), IsEmpty());
}

TEST(ModelFolder, EveryWrongKeyOfEveryFileIsNamedAtOnce) {
    const BrokenModel model;
    model.rewrite(model.root() / "MimicMotion_1-1.pth", [](auto& tensors) {
        tensors.erase("unet.conv_in.bias");
        tensors.erase("pose_net.scale");
        tensors["unet.conv_out.bias"] = {"", ElementType::f16, {5}, zeros(10)};
        tensors["unet.conv_norm_out.bias"] = {"", ElementType::i64, {32}, zeros(256)};
        tensors["unet.extra.weight"] = {"", ElementType::f16, {2, 3}, zeros(12)};
        tensors["vae.quant_conv.bias"] = {"", ElementType::f16, {8}, zeros(16)};
        // Queries of one-token attention are never loaded, yet they must be there.
        tensors.erase("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_q.weight");
    });
    model.rewrite(model.in_base("vae/diffusion_pytorch_model.fp16.safetensors"), [](auto& tensors) {
        tensors.erase("quant_conv.weight");
        tensors["post_quant_conv.weight"] = {"", ElementType::f16, {4, 4, 1, 1}, zeros(32)};
    });
    model.rewrite(model.in_base("image_encoder/model.fp16.safetensors"), [](auto& tensors) {
        tensors.erase("visual_projection.weight");
        tensors["vision_model.embeddings.position_ids"] = {"", ElementType::i64, {1, 257}, zeros(257 * 8)};  // some exports carry it: no mistake
    });
    const auto found = model.mistakes();
    EXPECT_THAT(found, SizeIs(10));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("MimicMotion_1-1.pth"), HasSubstr("unet.conv_in.bias is missing"), HasSubstr("[32]"))));
    EXPECT_THAT(found, Contains(HasSubstr("pose_net.scale is missing")));
    EXPECT_THAT(found, Contains(HasSubstr("attn2.to_q.weight is missing")));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("unet.conv_out.bias"), HasSubstr("[5]"), HasSubstr("[4]"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("unet.conv_norm_out.bias"), HasSubstr("I64"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("unet.extra.weight"), HasSubstr("surplus"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("MimicMotion_1-1.pth"), HasSubstr("vae.quant_conv.bias"), HasSubstr("surplus"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("diffusion_pytorch_model.fp16.safetensors"), HasSubstr("quant_conv.weight is missing"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("post_quant_conv.weight"), HasSubstr("surplus"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("model.fp16.safetensors"), HasSubstr("visual_projection.weight is missing"))));
}

TEST(ModelFolder, WeightsOfTheBaseModelsUNetAreNotRead) {
    const BrokenModel model;
    std::ofstream(model.in_base("unet/diffusion_pytorch_model.fp16.safetensors")) << "not a weight file";
    EXPECT_THAT(model.mistakes(), IsEmpty());
}

TEST(ModelFolder, TwoCheckpointsAreOneTooMany) {
    const BrokenModel model;
    std::ofstream(model.root() / "MimicMotion_1.pth") << "another";
    EXPECT_THAT(model.mistakes(), Contains(AllOf(HasSubstr("MimicMotion_1-1.pth"), HasSubstr("MimicMotion_1.pth"), HasSubstr("leave one"))));
}

TEST(ModelFolder, MissingFilesAreAllNamed) {
    const BrokenModel model;
    fs::remove(model.root() / "MimicMotion_1-1.pth");
    fs::remove(model.in_base("vae/diffusion_pytorch_model.fp16.safetensors"));
    fs::remove(model.in_base("image_encoder/model.fp16.safetensors"));
    fs::remove(model.in_base("scheduler/scheduler_config.json"));
    const auto found = model.mistakes();
    EXPECT_THAT(found, Contains(HasSubstr("holds no MimicMotion*.pth")));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("vae/diffusion_pytorch_model.fp16.safetensors"), HasSubstr("missing"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("image_encoder/model.fp16.safetensors"), HasSubstr("missing"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("scheduler_config.json"), HasSubstr("missing"))));
    EXPECT_THAT(found, SizeIs(4));
}

TEST(ModelFolder, FullPrecisionFilesServeWhereHalfOnesAreAbsent) {
    const BrokenModel model;
    fs::rename(model.in_base("vae/diffusion_pytorch_model.fp16.safetensors"), model.in_base("vae/diffusion_pytorch_model.safetensors"));
    EXPECT_THAT(model.mistakes(), IsEmpty());
}

TEST(ModelFolder, NoFolderAndAnEmptyFolder) {
    const io::TemporaryFolder empty;
    for (const auto& path : {empty.path() / "nowhere", empty.path()}) {
        Mistakes found;
        static_cast<void>(ModelFolder::open(path, found));
        EXPECT_THAT(found.texts(), SizeIs(1));
        EXPECT_THAT(found.texts(), Contains(AllOf(HasSubstr("model.path"), HasSubstr(path.string()))));
    }
}

TEST(ModelFolder, WrongConfigValuesAreAllNamed) {
    const BrokenModel model;
    model.edit("unet/config.json", "\"DownBlockSpatioTemporal\"", "\"DownBlock3D\"");
    model.edit("unet/config.json", "\"in_channels\": 8", "\"in_channels\": \"eight\"");
    model.edit("vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": -4");
    model.edit("image_encoder/config.json", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"quick_gelu\"");
    model.edit("scheduler/scheduler_config.json", "v_prediction", "epsilon");
    const auto found = model.mistakes();
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("unet/config.json"), HasSubstr("down_block_types"), HasSubstr("DownBlock3D"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("in_channels"), HasSubstr("eight"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("vae/config.json"), HasSubstr("latent_channels"), HasSubstr("-4"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("hidden_act"), HasSubstr("quick_gelu"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("prediction_type"), HasSubstr("epsilon"))));
}

TEST(ModelFolder, ConfigsMustFitEachOther) {
    const BrokenModel model;
    model.edit("vae/config.json", "\"latent_channels\": 4", "\"latent_channels\": 8");
    EXPECT_THAT(model.mistakes(), Contains(AllOf(HasSubstr("out_channels = 4"), HasSubstr("latent_channels = 8"))));
}

TEST(ModelFolder, ConfigThatIsNoJson) {
    const BrokenModel model;
    std::ofstream(model.in_base("unet/config.json")) << "{\"in_channels\": ";
    std::ofstream(model.in_base("vae/config.json")) << "[1, 2]";
    const auto found = model.mistakes();
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("unet/config.json"), HasSubstr("not JSON"))));
    EXPECT_THAT(found, Contains(AllOf(HasSubstr("vae/config.json"), HasSubstr("object"))));
}

TEST(MakeModel, TheMadeModelOpensAndIsTheSameEveryTime) {
    const io::TemporaryFolder one;
    const io::TemporaryFolder other;
    std::vector<std::map<std::string, std::string>> digests;
    for (const auto* folder : {&one, &other}) {
        make_tiny_model(folder->path() / "model");
        Mistakes found;
        digests.push_back(ModelFolder::open(folder->path() / "model", found).digests());
        EXPECT_THAT(found.texts(), IsEmpty());
    }
    EXPECT_EQ(digests[0], digests[1]);
}

}  // namespace
}  // namespace weft::model::mimicmotion
