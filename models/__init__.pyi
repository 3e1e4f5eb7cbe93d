# One source for the type checker and, through lazy_loader, for `__init__.py`.
from .capsnet_dr import CapsNetDR as CapsNetDR
from .capsnet_dr import CapsNetDRCode as CapsNetDRCode
from .capsnet_em import CapsNetEM as CapsNetEM
from .capsnet_em import CapsNetEMSmall as CapsNetEMSmall
from .capsnet_em_paper import CapsNetEMCode as CapsNetEMCode
from .capsnet_em_paper import CapsNetEMPaper as CapsNetEMPaper
from .cnn_hinton2018 import CNNHinton2018 as CNNHinton2018
from .cnn_multimnist import CNNMultiMNIST as CNNMultiMNIST
from .cnn_orbit_pool import CNNOrbitPool as CNNOrbitPool
from .cnn_p4 import CNNP4 as CNNP4
from .cnn_sabour2017 import CNNSabour2017 as CNNSabour2017
from .cnn_sabour2017_code import CNNSabour2017Code as CNNSabour2017Code
from .cnn_small import CNNSmall as CNNSmall
from .lenet5 import LeNet5 as LeNet5
from .linear_stem import LinearStem as LinearStem
from .resnet20 import ResNet20 as ResNet20
from .transforming_autoencoder import TransformingAutoencoder as TransformingAutoencoder
