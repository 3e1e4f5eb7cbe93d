# One source for the type checker and, through lazy_loader, for `__init__.py`.
from .affnist import AffNIST as AffNIST
from .affnist_like import AffNISTLike as AffNISTLike
from .cifar10 import CIFAR10 as CIFAR10
from .coil import COIL as COIL
from .digits import Digits as Digits
from .eth80 import ETH80 as ETH80
from .fashion_mnist import FashionMNIST as FashionMNIST
from .folder import Folder as Folder
from .kmnist import KMNIST as KMNIST
from .mnist import MNIST as MNIST
from .multimnist import MultiMNIST as MultiMNIST
from .rotmnist_like import RotMNISTLike as RotMNISTLike
from .smallnorb import SmallNORB as SmallNORB
from .svhn import SVHN as SVHN
from .toynorb import ToyNORB as ToyNORB
