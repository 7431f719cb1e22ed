#include "app/small_job.hpp"
#include "support/model_files.hpp"

/// Bad settings and files of MusePose: the exit code, a text that names what is wrong and what to do, and nothing of the user's touched.
namespace weft::test {

using ::testing::HasSubstr;

namespace {

const fs::path golden_model = fs::path(WEFT_SOURCE_DIR) / "tests/golden/musepose/model";

Words with_musepose(Words sets, const fs::path& model = golden_model) {
    sets.insert(sets.begin(), {"model.family=musepose", cat("model.path=", model.string())});
    return sets;
}

struct Mistake {
    const char* name;
    Words sets;
    Words texts;
};
void PrintTo(const Mistake& mistake, std::ostream* to) {
    *to << mistake.name;
}

class SettingsOfMusePose : public ::testing::TestWithParam<Mistake> {};

}  // namespace

TEST_P(SettingsOfMusePose, AreRefused) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate(with_musepose(GetParam().sets)), 2, GetParam().texts);
    EXPECT_EQ(status_of(job / "out.status"), "2 prepare 0");
}

INSTANTIATE_TEST_SUITE_P(
    Mistaken, SettingsOfMusePose,
    ::testing::Values(
        Mistake{"WindowLongerThanTheTableOfPositions", {"slices.length=129"}, {"slices.length = 129: must be at most 128", "128 places", "48 is usual"}},
        Mistake{"OverlapAsLongAsTheSlice", {"slices.overlap=6"}, {"slices.overlap = 6: must be smaller than slices.length = 6", "try 4"}},
        Mistake{"OverlapLongerThanTheSlice", {"slices.overlap=60"}, {"slices.overlap = 60: must be smaller than slices.length = 6", "try 4"}},
        Mistake{"OverlapBelowZero", {"slices.overlap=-1"}, {"slices.overlap = -1: must be at least 0", "4 is usual"}},
        Mistake{"SidesNoMultiplesOf8",
                {"video.width=100", "video.height=56"},
                {"video.width = 100: must be a multiple of 8 from 64", "try 104", "video.height = 56: must be", "try 64"}},
        Mistake{"HalfPrecisionOnACpu",
                {"model.dtype=fp16"},
                {"model.dtype = \"fp16\": is not for device.kind = \"cpu\"", "100 times slower", "use \"fp32\" or \"bf16\""}},
        Mistake{"StepsOfWhichTheSchedulerMakesOneMore", {"sampling.steps=61"}, {"sampling.steps = 61", "one more", "try 60"}},
        Mistake{"MimicMotionsKeys",
                {"slices.anchor=private", "sampling.noise_aug=0.1", "sampling.fps=15", "sampling.motion_bucket=100", "input.image_pose=pose.png"},
                {"slices.anchor = \"private\": is MimicMotion's; leave it out", "sampling.noise_aug = 0.1: is MimicMotion's; leave it out",
                 "sampling.fps = 15: is MimicMotion's; leave it out", "sampling.motion_bucket = 100: is MimicMotion's; leave it out",
                 "input.image_pose = \"pose.png\": is MimicMotion's; leave it out"}},
        Mistake{"UnknownFamily", {"model.family=musepoze"}, {"model.family", "musepoze", "did you mean \"musepose\"?"}}),
    [](const auto& one) { return std::string(one.param.name); });

TEST(SettingsOfMimicMotion, HaveNoKeysOfMusePose) {
    SmallJob job;
    job.keep_files();
    job.expect_refused(job.generate({"slices.pad=false"}), 2, {"slices.pad = false: is MusePose's; leave it out"});
}

// ---- files ----

namespace {

class FilesOfMusePose : public ::testing::Test {
  protected:
    FilesOfMusePose() { link_files(golden_model, model); }

    void expect_refused(const Words& texts) {
        job.keep_files();
        job.expect_refused(job.generate(with_musepose({}, "model")), 2, texts);
        job.expect_refused(job.weft({"inspect", "--keys", "model"}), 2, texts);
    }

    [[nodiscard]] fs::path pth(const std::string& name) const { return weights / "MusePose" / (name + ".pth"); }

    /// By a Python program that finds the path in argv[1].
    void rewrite_by_python(const fs::path& path, const std::string& program) {
        const auto target = fs::canonical(path).string();
        fs::remove(path);
        const auto ended = run({"python3", "-c", program, target, path.string()}, job.folder());
        ASSERT_EQ(ended.code, 0) << ended.err;
    }

    void edit_yaml(const std::string& from, const std::string& to) const {
        auto text = bytes_of(yaml);
        const auto at = text.find(from);
        ASSERT_NE(at, std::string::npos) << from;
        replace(yaml, text.replace(at, from.size(), to));
    }

    SmallJob job;
    fs::path model = job / "model";
    fs::path weights = model / "pretrained_weights";
    fs::path vae = weights / "sd-vae-ft-mse/diffusion_pytorch_model.bin";
    fs::path yaml = model / "configs/inference_v2.yaml";
};

constexpr std::array parts{"denoising_unet", "motion_module", "reference_unet", "pose_guider"};

/// Copies a torch archive from argv[1] to argv[2], each record as `change` (of `name` and `data`) makes it.
std::string copied_with(const std::string& change) {
    return cat(
        "import struct, sys, zipfile\n"
        "with zipfile.ZipFile(sys.argv[1]) as old, zipfile.ZipFile(sys.argv[2], 'w') as new:\n"
        "    for name in old.namelist():\n"
        "        data = old.read(name)\n"
        "        ",
        change, "\n        new.writestr(name, data)\n");
}

/// A misshapen, a missing and a surplus key.
struct Damage {
    std::string misshapen, missing, surplus = "weight.of_somebody_else";

    explicit Damage(const fs::path& path) {
        rewrite_weights(path, path, [this](auto& tensors) {
            const auto last = std::prev(tensors.end());
            misshapen = last->first;
            last->second.shape.push_back(1);
            auto first = tensors.extract(tensors.begin());
            missing = first.key();
            first.key() = surplus;
            tensors.insert(std::move(first));
        });
    }
    [[nodiscard]] Words texts() const { return {cat("key ", misshapen, " has shape"), cat("key ", missing, " is missing"), cat("key ", surplus)}; }
};

}  // namespace

TEST_F(FilesOfMusePose, WithoutAMistakeMakeAFilm) {  // or the refusals below would prove nothing
    expect_done(job.generate(with_musepose({"video.width=72", "video.height=104"}, "model")));
    EXPECT_EQ(job.weft({"inspect", "--keys", "model"}).code, 0);
}

TEST_F(FilesOfMusePose, MissingWeightsAreListedTogether) {
    for (const auto* const part : parts) fs::remove(pth(part));
    fs::remove(vae);
    fs::remove(weights / "image_encoder/pytorch_model.bin");
    job.keep_files();
    job.expect_refused(job.generate(with_musepose({}, "model")), 2,
                       {"denoising_unet.pth: missing", "motion_module.pth: missing", "reference_unet.pth: missing", "pose_guider.pth: missing",
                        "sd-vae-ft-mse/diffusion_pytorch_model", "image_encoder/"});
}

TEST_F(FilesOfMusePose, MissingConfigsAreListedTogether) {
    const std::array names{"sd-image-variations-diffusers/unet/config.json", "sd-vae-ft-mse/config.json", "image_encoder/config.json"};
    Words texts{"missing", "pretrained_weights"};
    for (const auto* const name : names) {
        fs::remove(weights / name);
        texts.emplace_back(name);
    }
    expect_refused(texts);
}

TEST_F(FilesOfMusePose, TruncatedArchivesAreListedTogether) {
    Words texts{"cut short"};
    for (const auto* const part : parts) {
        const auto bytes = bytes_of(pth(part));
        replace(pth(part), bytes.substr(0, bytes.size() - 100));
        texts.push_back(cat(part, ".pth: is cut short"));
    }
    expect_refused(texts);
}

TEST_F(FilesOfMusePose, AStorageShorterThanItSays) {
    rewrite_by_python(pth("pose_guider"), copied_with("if name.endswith('/data/0'): data = data[:len(data) // 2]"));
    expect_refused({"pose_guider.pth", "elements", "bytes"});
}

TEST_F(FilesOfMusePose, AViewPastTheEndOfItsStorage) {
    // The first tensor's offset was 31013; from 64200 on its storage has 29 elements.
    rewrite_by_python(pth("pose_guider"), copied_with("if name.endswith('data.pkl'): data = data.replace(b'M' + struct.pack('<H', 31013), b'M' + "
                                                      "struct.pack('<H', 64200))"));
    expect_refused({"pose_guider.pth", "offset 64200", "storage"});
}

TEST_F(FilesOfMusePose, APickleThatCallsAFunctionIsRefusedAndCallsNothing) {
    for (const auto* const part : parts) {
        rewrite_by_python(pth(part),
                          "import os, pickle, sys, zipfile\n"
                          "class Call:\n"
                          "    def __reduce__(self): return (os.system, ('touch called',))\n"
                          "with zipfile.ZipFile(sys.argv[2], 'w') as z:\n"
                          "    z.writestr('archive/data.pkl', pickle.dumps({'conv_in.weight': Call()}, 2))\n"
                          "    z.writestr('archive/version', '3\\n')\n");
    }
    expect_refused({"denoising_unet.pth", "motion_module.pth", "reference_unet.pth", "pose_guider.pth", "system", "nothing of it was run"});
    EXPECT_FALSE(fs::exists(job / "called"));
}

TEST_F(FilesOfMusePose, WrongShapesAndMissingAndSurplusKeysOfAllFilesAreListedTogether) {
    Words texts{"is surplus"};
    for (const auto* const part : parts) {
        const auto more = Damage(pth(part)).texts();
        texts.insert(texts.end(), more.begin(), more.end());
        texts.push_back(cat(part, ".pth"));
    }
    expect_refused(texts);
}

TEST_F(FilesOfMusePose, AVaeWhoseAttentionHasOldNamesHereAndNewOnesThere) {
    rewrite_weights(vae, vae, [](auto& tensors) {
        auto node = tensors.extract("decoder.mid_block.attentions.0.query.weight");
        ASSERT_FALSE(node.empty());
        node.key() = "decoder.mid_block.attentions.0.to_q.weight";
        tensors.insert(std::move(node));
    });
    expect_refused({"sd-vae-ft-mse/diffusion_pytorch_model.bin", "decoder.mid_block.attentions.0.query.weight is missing",
                    "decoder.mid_block.attentions.0.to_q.weight", "is surplus"});
}

TEST_F(FilesOfMusePose, AnInferenceYamlThatIsNone) {
    for (const char* const text : {"unet_additional_kwargs: [1, 2\nnoise: }", "a plain text", "- a\n- list\n", "noise_scheduler_kwargs: scaled\n",
                                   "unet_additional_kwargs: {motion_module_kwargs: [1, 2]}\n"}) {
        replace(yaml, text);
        SCOPED_TRACE(text);
        expect_refused({"configs/inference_v2.yaml"});
    }
}

TEST_F(FilesOfMusePose, AnInferenceYamlOfAnotherScheduler) {
    edit_yaml("scaled_linear", "linear");
    edit_yaml("\"v_prediction\"", "epsilon");
    edit_yaml("rescale_betas_zero_snr: true", "rescale_betas_zero_snr: false");
    expect_refused({"configs/inference_v2.yaml", "noise_scheduler_kwargs.beta_schedule = ", "linear", "scaled_linear", "prediction_type = ", "epsilon",
                    "v_prediction", "rescale_betas_zero_snr = false"});
}

TEST_F(FilesOfMusePose, AnInferenceYamlOfWrongTypes) {
    edit_yaml("beta_start:", "beta_start: often #");
    expect_refused({"configs/inference_v2.yaml", "beta_start", "often"});
}

TEST_F(FilesOfMusePose, AnInferenceYamlOfHeadsThatDivideNoWidth) {
    edit_yaml("num_attention_heads:", "num_attention_heads: 7 #");
    expect_refused({"configs/inference_v2.yaml", "num_attention_heads = 7", "must divide every width"});
}

TEST_F(FilesOfMusePose, OpenedAsMimicMotion) {
    job.keep_files();
    job.expect_refused(job.generate({"model.path=model"}), 2,
                       {"model.family = \"mimicmotion\"", "model\" holds the files of MusePose", "use model.family = \"musepose\""});
}

TEST_F(FilesOfMusePose, FilesOfMimicMotionOpenedAsMusePose) {
    job.keep_files();
    job.expect_refused(job.generate(with_musepose({}, tiny_model())), 2,
                       {"model.family = \"musepose\"", "holds the files of MimicMotion", "use model.family = \"mimicmotion\""});
}

}  // namespace weft::test
