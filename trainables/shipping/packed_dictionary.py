"""The text that packed files' headers are likely to repeat; part of the file format.

Deflate starts with this text behind it, so that what a header shares with it costs two or three bytes
a phrase. It is frozen: changing a character makes older files unreadable and needs a new version of the
format. Parts that are not mentioned here, or whose fields have changed since, merely cost more bytes.
"""

from __future__ import annotations

_PHRASES = (
    '"subwords":"bpe","vocabulary_size":2000}"type":"Phrases","type":"TextPairs","type":"Multi30k",',
    '"batch_tokens":1024,"source":"de","target":"en","type":"LSTM","type":"Transformer","embedding":',
    '"units":128,"task:vocabulary","encoder.layers.0.weight_ih_l0","decoder.',
    '"type":"Custom","target":"type":"ImageFolder","classes":["channels":3,"digest":""image_size":[32,',
    '32],"padding":2,"type":"CIFAR100"},"padding":4,"type":"CIFAR10"},{"batch_size":128,"flip":true,',
    '"padding":2,"type":"FashionMNIST"},"task_weight":{"type":"Constant","value":0.5}},"type":"Linear",',
    '"hidden":[300],"stages":[[25,10],[10,5]],"hidden":[400],"stages":[[50,25],[25,10]],"dropout":[0.2,',
    '0.3,0.35,0.4,0.4],"hidden":[1200,1200],"kernel_size":3,"stages":[[76,76],[126,126],[148,148,148,',
    '148]],"type":"ConvNet","width":2.0},"activations":{"bits":8,"momentum":0.99,"type":"MovingRange"},',
    '"activations":{"bits":4,"decay":0.0002,"initial":null,"type":"LearnedClip"},',
    '"quantizer":{"default":{"type":"QuantizerByName","where":[{"pattern":"","type":"Where"}]},',
    '"quantizer":{"bits":8,"bucket_size":null,"scale_dtype":"float16","type":"Symmetric"},',
    '"quantizer":{"bits":4,"per_channel":true,"scale_dtype":"float32","type":"LearnedStep"},',
    '"gradient":"truncated","gradient":"scale","rounding":"stochastic","phases":[{"dense_gradient":false,"epochs":1,',
    '"optimizer":{"decay":{"type":"Constant","value":1.0},"learning_rate":0.002,"type":"AdamW",',
    '"weight_decay":0.01},"prune":false,"quantize":true,"quantizer":null,"train":"weights",',
    '"type":"Phase"},{"dense_gradient":false,"epochs":1,"optimizer":{"decay":{"type":"Constant","value":1.0},',
    '"learning_rate":1e-05,"momentum":0.9,"type":"SGD","weight_decay":0.0},"prune":false,"quantize":true,',
    '"quantizer":{"bits":4,"bucket_size":256,"initial":"quantile","scale_dtype":"float16","share":true,',
    '"type":"LearnedPoints"},"train":"quantizer","type":"Phase"},"method":"alternating_quantization",',
    '"method":"learned_step_quantization","method":"teacher_annealing","weight":{"end":0.0,"start":1.0,',
    '"type":"Linear"}}],"task_weight":{"end":1.0,"start":0.0,"type":"Linear"},"learning_rate":1e-05,',
    '"momentum":0.9,"type":"SGD","weight_decay":0.0},"prune":false,"quantize":true,"quantizer":null,',
    '"train":"quantizer","type":"Phase"}],"pruner":{"type":"NoPruner"},"quantizer":{"bits":4,',
    '"bucket_size":256,"initial":"quantile","scale_dtype":"float16","share":false,',
    '"type":"LearnedPoints"},"train":"all","type":"Phase"}],"method":"post_training_quantization",',
    '"method":"knowledge_distillation","origin":{"model":{"depth":1,"model":{"depth":3,"type":"ResNet",',
    '"width":1.0},"network":"","type":"Trained"},"method":"differentiable_quantization","exempt_dtype":"float32","losses":[],',
    '"method":"full_precision","prune":false,"quantize":false,"quantizer":null,"train":"weights",',
    '"type":"Phase"}],"pruner":{"type":"NoPruner"},"quantizer":{"type":"NoQuantizer"},',
    '"task_weight":{"type":"Constant","value":1.0},"teacher":{"type":"NoTeacher"},"type":"Recipe"},',
    '[".residual.0.weight",".residual.1.scale",".residual.1.shift",".residual.3.weight",',
    '".residual.4.scale",".residual.4.shift",".0.residual.","0.5.residual.","0.6.residual.",',
    '"0.8.residual.","0.3.residual.","0.4.residual.","features.0.weight","classifier.","fc.weight",',
    '"fc.bias","3.weight","3.bias"][{"activations":{"type":"NoActivationQuantizer"},',
    '"codec":{"members":[{"type":"Raw"},{"type":"BitPacked"},{"type":"EntropyCoded"},{"type":"Sparse"}],',
    '"type":"Smallest"},"exempt":[],"exempt_dtype":"float16","losses":[{"temperature":{"type":"Constant",',
    '"value":2.0},"type":"SoftTargets","weight":{"type":"Constant","value":0.7}}],',
    '"method":"quantized_distillation","origin":{"model":{"depth":2,"dropout":[],"hidden":[500],',
    '"kernel_size":5,"stages":[[75,50],[50,25]],"type":"ConvNet","width":1.0},"type":"Fresh"},"peers":[],',
    '"phases":[{"dense_gradient":false,"epochs":20,',
    '"optimizer":{"decay":{"end":0.0,"start":1.0,"type":"Cosine"},"learning_rate":0.002,"type":"AdamW",',
    '"weight_decay":0.01},"prune":true,"quantize":true,"quantizer":null,"train":"weights",',
    '"type":"Phase"}],"pruner":{"ramp":{"begin":0.1,"end":1.0,"finish":0.6,"start":0.0,"type":"Cubic"},',
    '"sparsity":0.5,"type":"Magnitude","updates":40},"quantizer":{"bits":4,"bucket_size":256,',
    '"gradient":"straight_through","rounding":"nearest","scale_dtype":"float16","type":"Uniform"},',
    '"seed":0,"task":{"batch_size":64,"flip":false,"padding":1,"type":"Digits"},',
    '"task_weight":{"type":"Constant","value":0.30000000000000004},"teacher":{"recipe_id":"",',
    '"type":"Remembered","views":16},"type":"Recipe"},null,["0.0.weight","0.1.scale","0.1.shift","0.3.weight",',
    '"0.4.scale","0.4.shift","0.7.weight","0.8.scale","0.8.shift","0.10.weight","0.11.scale",',
    '"0.11.shift","2.0.weight","2.1.scale","2.1.shift","2.3.weight","2.3.bias"]]',
)

DICTIONARY = "".join(_PHRASES).encode("ascii")
