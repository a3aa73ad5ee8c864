"""What the `model_type` of a ``config.json`` says of a recipe that the numbers alone do not."""

from collections.abc import Mapping
from typing import Any

ZERO_CENTRED_NORMS = {
    "gemma": "transformers GemmaRMSNorm: x·(1 + weight)",
    "gemma2": "transformers Gemma2RMSNorm: x·(1 + weight)",
    "gemma3": "transformers Gemma3RMSNorm: x·(1 + weight)",
    "gemma3_text": "transformers Gemma3RMSNorm: x·(1 + weight)",
    "recurrent_gemma": "transformers RecurrentGemmaRMSNorm: x·(1 + weight)",
    "qwen3_next": "transformers Qwen3NextRMSNorm: x·(1 + weight); its gated norm is not",
    "qwen3_5": "transformers Qwen3_5RMSNorm: x·(1 + weight); its gated norm is not",
    "qwen3_5_text": "transformers Qwen3_5RMSNorm: x·(1 + weight); its gated norm is not",
    "nemotron": "transformers NemotronLayerNorm1P: x·(1 + weight)",
}
"""Architectures whose norms add one to their scale, which therefore starts at zero, with where that stands."""

_MULTIPLIED = """
afmoe aimv2 aimv2_vision_model albert align altclip apertus arcee aria aria_text audio-spectrogram-transformer
audioflamingo3 audioflamingo3_encoder autoformer axk1 axk2 aya_vision bailing_hybrid bark bart beam beit bert
bert-generation big_bird bigbird_pegasus biogpt bit bitnet blenderbot blenderbot-small blip blip-2 blip_2_qformer
bloom bridgetower bros camembert canary canine chinese_clip chinese_clip_vision_model clap clip clip_text_model
clip_vision_model clipseg clvp codegen cohere cohere2 cohere2_moe cohere_asr cohere_compass_vision colmodernvbert
colqwen2 conditional_detr convbert convnext cosmos3_edge_vision cpmant ctrl cvt cwm d_fine dab-detr data2vec-audio
data2vec-text data2vec-vision deberta deberta-v2 decision_transformer deepseek_v2 deepseek_v3 deepseek_v32 deepseek_v4
deformable_detr deimv2 deit depth_anything detr dia diffllama dinov2 dinov2_with_registers dinov3_convnext dinov3_vit
distilbert doge donut-swin dpr dpt edgetam edgetam_video edgetam_vision_model electra embedding_gemma2_text
emu3_text_model encoder-decoder eomt eomt_dinov3 ernie ernie4_5 ernie4_5_moe esm esmc eurobert exaone4
exaone4_5_vision exaone_moe falcon falcon_h1 falcon_mamba fastspeech2_conformer fastspeech2_conformer_with_hifigan
flaubert flava flex_olmo flint florence2 fnet focalnet fsmt fun_asr_nano fun_asr_nano_encoder funnel fuyu
gemma3n_audio gemma3n_text gemma4 gemma4_audio gemma4_text gemma4_unified gemma4_unified_text gemma4_vision git glm
glm4 glm46v glm4_moe glm4_moe_lite glm4v glm4v_moe glm4v_moe_text glm4v_moe_vision glm4v_text glm4v_vision glm5_next
glm5_next_text glm5_next_vision glm_image glm_image_text glm_image_vision glm_moe_dsa glm_ocr glm_ocr_text
glm_ocr_vision glmasr_encoder glpn got_ocr2 gpt2 gpt_bigcode gpt_neox gpt_neox_japanese gpt_oss gptj
gradium_phonon_tts granite granite_docling granite_docling_text granite_docling_vision granite_speech
granite_speech5_ctc granite_speech5_encoder granite_speech_plus granite_swa granitemoe granitemoe_swa granitemoeshared
groupvit gte helium hgnet_v2 higgs_audio_v2 higgs_audio_v2_tokenizer hubert hunyuan_v1_dense hunyuan_v1_moe
hunyuan_vl_text hunyuan_vl_vision hy_v3 hy_v4 hyperclovax hyperclovax_vision_v2 ibert idefics idefics3_vision ijepa
imagegpt informer inkling2_text inkling2_vision inkling_text internlm3 internvl internvl_vision iquestcoder jais2
jamba jetmoe jina_embeddings_v3 kimi_k25_vision kimi_linear kolibri1 kosmos-2 kosmos-2.5 laguna lasr_ctc lasr_encoder
layoutlm layoutlmv3 led levit lfm2 lfm2_moe lfm2_vl lfm3 lfm3_vl lfm3_vl_vision lightglue lighton_ocr lilt llama
llama4_text llava llava_next llava_next_video llava_onevision longformer longt5 luke lw_detr lw_detr_vit m2m_100 mamba
marian markuplm maskformer-swin mbart megatron-bert mellum metaclip_2_text_model mgp-str mimi_decoder mimi_encoder
mimo_v2_flash minicpm3 minicpm_ocr_vision minicpmv4_7_vision minimax minimax_m2 ministral ministral3 mistral mistral4
mistral_large4_text mixtral mlcd_vision_model mllama mllama_text_model mobilebert mobilenet_v1 mobilenet_v2 modernbert
modernbert-decoder modernvbert molmo2_text moonshine moshi moss_transcribe_diarize_audio mpnet mpt mra mt5
muse_glimmer muse_glimmer_assistant muse_glimmer_text muse_glimmer_vision muse_spark_audio muse_spark_vision
musicgen_decoder musicgen_melody_decoder mvp nemotron3_5_asr nemotron3_5_transcribe_asr_audio
nemotron3_5_transcribe_audio nemotron3_5_transcribe_word_timestamp nemotron3_diarization_audio nemotron_asr_streaming
nemotron_asr_streaming_encoder nemotron_h neucodec nllb-moe nomic_bert nystromformer olmo2 olmo3 olmo_hybrid olmoe
oneformer openai-gpt openai_privacy_filter opt owlv2 owlvit paddleocr_vl_text parakeet_ctc parakeet_encoder
parakeet_rnnt parakeet_tdt patchtsmixer patchtst pe_audio pe_audio_encoder pegasus pegasus_x persimmon phi phi3
phi4_multimodal phimoe pix2struct pixio pixtral plbart pocket_tts pocket_tts_audio_tokenizer
pocket_tts_audio_tokenizer_decoder pocket_tts_audio_tokenizer_encoder poolformer pop2piano pp_formulanet_text pp_lcnet
pp_lcnet_v3 pp_lcnet_v4 pp_ocrv5_mobile_det pp_ocrv5_mobile_rec pp_ocrv5_server_rec pp_ocrv6_small_det
pp_ocrv6_small_rec pp_ocrv6_tiny_rec prompt_depth_anything prophetnet pvt pvt_v2 qianfan_ocr_vision qwen2 qwen2_5_omni
qwen2_5_omni_thinker qwen2_5_vl qwen2_5_vl_text qwen2_5_vl_vision qwen2_audio qwen2_audio_encoder qwen2_moe qwen2_vl
qwen2_vl_text qwen3 qwen3_5_moe_vision qwen3_5_vision qwen3_asr qwen3_asr_encoder qwen3_moe qwen3_omni_moe_thinker
qwen3_vl qwen3_vl_moe qwen3_vl_moe_text qwen3_vl_moe_vision qwen3_vl_text qwen3_vl_vision qwen4_exp_vision radio
reformer regnet rembert resnet rf_detr rf_detr_dinov2 roberta roberta-prelayernorm roc_bert roformer rt_detr_resnet
rwkv sam sam3_lite_text_text_model sam3_vision_model sam3_vit_model sam_hq sam_hq_vision_model sam_vision_model
seamless_m4t seamless_m4t_v2 seed_oss segformer sew sew-d siglip2_text_model siglip2_vision_model siglip_text_model
siglip_vision_model slanet slanext smollm3 smolvlm smolvlm_vision solar_open speech-encoder-decoder speech_to_text
speecht5 splinter squeezebert stablelm starcoder2 superglue swiftformer swin swin2sr swinv2 switch_transformers t5
table-transformer tapas textnet time_series_transformer timesfm timesfm2_5 timesformer tipsv2 tipsv2_dpt
tipsv2_text_model tipsv2_vision_model trocr udop ultrabert ultravbert umt5 unispeech unispeech-sat unlimited_ocr
upernet uvdoc uvdoc_backbone vibevoice vibevoice_acoustic_tokenizer vibevoice_acoustic_tokenizer_decoder
vibevoice_acoustic_tokenizer_encoder vibevoice_asr video_llama_3_vision videomae videomt vilt vipllava
vision-encoder-decoder visual_bert vit vit_mae vit_msn vitdet vitpose vitpose_backbone vivit vjepa2 voxtral_encoder
voxtral_realtime_encoder voxtral_realtime_text wav2vec2 wav2vec2-bert wav2vec2-conformer wavlm whisper xclip xcodec2
xglm xlm xlm-roberta xlm-roberta-xl xlnet xlstm xmod yolos yoso youtu zaya zoedepth
"""

MULTIPLIED_NORMS = frozenset(_MULTIPLIED.split())
"""Architectures of transformers 5.23 whose norms multiply by their scale as it stands: in a fresh model all are one."""

SCALED_RESIDUALS = {
    "gpt2": "Radford et al. 2019: residual layers by 1/sqrt(N)",
    "gpt_bigcode": "Ben Allal et al. 2023 (SantaCoder), as GPT-2",
    "decision_transformer": "Chen et al. 2021, as GPT-2",
    "imagegpt": "Chen et al. 2020, as GPT-2",
    "modernbert": "Warner et al. 2024 (ModernBERT): full Megatron initialisation",
}
"""Architectures whose residual outputs are drawn smaller by √(2L), with where that stands."""


def architecture_of(config: Mapping[str, Any]) -> str:
    """The `model_type` of the text model that a configuration describes, "" where it says none."""
    inner = config.get("text_config")
    described = inner if isinstance(inner, Mapping) and "model_type" in inner else config
    found = described.get("model_type")
    return found if isinstance(found, str) else ""
