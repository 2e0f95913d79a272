/**
 * Constants of virtio. Names: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2": "Basic Facilities of a Virtio
 * Device", "Split Virtqueues", "Virtio Over PCI Bus".
 */

/** Device status field. */
export const STATUS_ACKNOWLEDGE = 1;
export const STATUS_DRIVER = 2;
export const STATUS_DRIVER_OK = 4;
export const STATUS_FEATURES_OK = 8;
export const STATUS_DEVICE_NEEDS_RESET = 64;
export const STATUS_FAILED = 128;

/** Reserved feature bits. */
export const VIRTIO_F_INDIRECT_DESC = 28n;
export const VIRTIO_F_EVENT_IDX = 29n;
export const VIRTIO_F_VERSION_1 = 32n;
export const VIRTIO_F_RING_PACKED = 34n;
export const VIRTIO_F_RING_RESET = 40n;

/** Split virtqueue. */
export const VIRTQ_DESC_BYTES = 16;
export const VIRTQ_DESC_F_NEXT = 1;
export const VIRTQ_DESC_F_WRITE = 2;
export const VIRTQ_DESC_F_INDIRECT = 4;
export const VIRTQ_AVAIL_F_NO_INTERRUPT = 1;
export const VIRTQ_USED_F_NO_NOTIFY = 1;
/** Offsets in the available and used rings. */
export const RING_FLAGS = 0;
export const RING_IDX = 2;
export const RING_ENTRIES = 4;
export const USED_ELEMENT_BYTES = 8;

/** Packed virtqueue: flags, places in a descriptor, event suppression structures (offset and wrap counter, flags). */
export const VIRTQ_DESC_F_AVAIL = 1 << 7;
export const VIRTQ_DESC_F_USED = 1 << 15;
export const PACKED_ID = 12;
export const PACKED_FLAGS = 14;
export const EVENT_SUPPRESSION_BYTES = 4;
export const RING_EVENT_FLAGS_ENABLE = 0;
export const RING_EVENT_FLAGS_DISABLE = 1;
export const RING_EVENT_FLAGS_DESC = 2;

/** PCI identification. */
export const PCI_VENDOR_VIRTIO = 0x1af4;
/** PCI device ID of a device that is not transitional: this plus the virtio device ID. */
export const PCI_DEVICE_BASE = 0x1040;
export const PCI_REVISION_MODERN = 1;

/** Vendor-specific capability: cfg_type. */
export const VIRTIO_PCI_CAP_COMMON_CFG = 1;
export const VIRTIO_PCI_CAP_NOTIFY_CFG = 2;
export const VIRTIO_PCI_CAP_ISR_CFG = 3;
export const VIRTIO_PCI_CAP_DEVICE_CFG = 4;
export const VIRTIO_PCI_CAP_PCI_CFG = 5;
/** Fields of the capability. */
export const CAP_BAR = 4;
export const CAP_OFFSET = 8;
export const CAP_LENGTH = 12;
export const CAP_BYTES = 16;
/** The PCI configuration access capability's data window, after the common fields. */
export const CAP_PCI_CFG_DATA = 16;

/** Common configuration structure. */
export const COMMON_DEVICE_FEATURE_SELECT = 0;
export const COMMON_DEVICE_FEATURE = 4;
export const COMMON_DRIVER_FEATURE_SELECT = 8;
export const COMMON_DRIVER_FEATURE = 12;
export const COMMON_CONFIG_MSIX_VECTOR = 16;
export const COMMON_NUM_QUEUES = 18;
export const COMMON_DEVICE_STATUS = 20;
export const COMMON_CONFIG_GENERATION = 21;
export const COMMON_QUEUE_SELECT = 22;
export const COMMON_QUEUE_SIZE = 24;
export const COMMON_QUEUE_MSIX_VECTOR = 26;
export const COMMON_QUEUE_ENABLE = 28;
export const COMMON_QUEUE_NOTIFY_OFF = 30;
export const COMMON_QUEUE_DESC = 32;
export const COMMON_QUEUE_DRIVER = 40;
export const COMMON_QUEUE_DEVICE = 48;
export const COMMON_QUEUE_RESET = 58;
export const COMMON_BYTES = 60;

export const VIRTIO_MSI_NO_VECTOR = 0xffff;

/** ISR status. */
export const ISR_QUEUE = 1;
export const ISR_CONFIGURATION = 2;
