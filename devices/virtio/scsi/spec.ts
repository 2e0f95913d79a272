/** Constants of the SCSI host device. Names: OASIS, "Virtual I/O Device (VIRTIO) Version 1.2", "SCSI Host Device". */
export const VIRTIO_ID_SCSI = 8;

export const CONTROL_QUEUE = 0;
export const EVENT_QUEUE = 1;
export const FIRST_REQUEST_QUEUE = 2;

/** struct virtio_scsi_config. */
export const CONFIG_NUM_QUEUES = 0;
export const CONFIG_SEG_MAX = 4;
export const CONFIG_MAX_SECTORS = 8;
export const CONFIG_CMD_PER_LUN = 12;
export const CONFIG_EVENT_INFO_SIZE = 16;
export const CONFIG_SENSE_SIZE = 20;
export const CONFIG_CDB_SIZE = 24;
export const CONFIG_MAX_CHANNEL = 28;
export const CONFIG_MAX_TARGET = 30;
export const CONFIG_MAX_LUN = 32;
export const CONFIG_BYTES = 36;
export const DEFAULT_SENSE_SIZE = 96;
export const DEFAULT_CDB_SIZE = 32;

/** struct virtio_scsi_req_cmd: lun, id, task_attr, prio, crn; then the CDB. */
export const REQUEST_LUN = 0;
export const REQUEST_ID = 8;
export const REQUEST_CDB = 19;
export const LUN_BYTES = 8;
/** Its answer: sense_len, residual, status_qualifier, status, response; then the sense data. */
export const ANSWER_SENSE_LENGTH = 0;
export const ANSWER_RESIDUAL = 4;
export const ANSWER_STATUS = 10;
export const ANSWER_RESPONSE = 11;
export const ANSWER_SENSE = 12;

export const VIRTIO_SCSI_S_OK = 0;
export const VIRTIO_SCSI_S_OVERRUN = 1;
export const VIRTIO_SCSI_S_ABORTED = 2;
export const VIRTIO_SCSI_S_BAD_TARGET = 3;
export const VIRTIO_SCSI_S_RESET = 4;
export const VIRTIO_SCSI_S_FUNCTION_SUCCEEDED = 10;
export const VIRTIO_SCSI_S_FUNCTION_REJECTED = 11;
export const VIRTIO_SCSI_S_INCORRECT_LUN = 12;

/** Control requests. */
export const VIRTIO_SCSI_T_TMF = 0;
export const VIRTIO_SCSI_T_AN_QUERY = 1;
export const VIRTIO_SCSI_T_AN_SUBSCRIBE = 2;
export const TMF_SUBTYPE = 4;
export const TMF_LUN = 8;
export const TMF_ID = 16;
export const TMF_BYTES = 24;
export const AN_LUN = 4;
export const AN_BYTES = 16;
export const TMF_ABORT_TASK = 0;
export const TMF_ABORT_TASK_SET = 1;
export const TMF_CLEAR_ACA = 2;
export const TMF_CLEAR_TASK_SET = 3;
export const TMF_I_T_NEXUS_RESET = 4;
export const TMF_LOGICAL_UNIT_RESET = 5;
export const TMF_QUERY_TASK = 6;
export const TMF_QUERY_TASK_SET = 7;
